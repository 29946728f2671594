"""The parts of a model in one file that was divided: ``NAME-00001-of-00003.gguf`` and the other two."""

from __future__ import annotations

import re

_PART = re.compile(r"(?P<stem>.*)-(?P<number>\d{5})-of-(?P<count>\d{5})(?P<suffix>\.\w+)", re.DOTALL)
MAX_PARTS = 1000


def parts_of(name: str) -> tuple[str, ...]:
    """Return the names of all parts of the model that a file is or belongs to, in order."""
    part = _PART.fullmatch(name)
    count = int(part["count"]) if part else 0
    if part is None or not 1 <= int(part["number"]) <= count <= MAX_PARTS:
        return (name,)
    return tuple(
        f"{part['stem']}-{number:05}-of-{part['count']}{part['suffix']}" for number in range(1, count + 1)
    )


def without_part(name: str) -> str:
    """Return a name without the number of the part: ``NAME.gguf``."""
    return name if len(parts_of(name)) == 1 else _PART.sub(r"\g<stem>\g<suffix>", name)
