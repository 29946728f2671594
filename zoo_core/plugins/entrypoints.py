"""The entry points of installed distributions, read from their files.

``importlib.metadata`` gives the same, but importing it takes longer than everything else that listing models
needs.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_METADATA_FOLDER = re.compile(r"([^-]+)(-.*)?\.(dist|egg)-info", re.IGNORECASE)
_MODULE = re.compile(r"[\w.]+")


@dataclass(frozen=True)
class EntryPoint:
    """One line of a group: ``name = module``."""

    name: str
    module: str
    metadata: Path
    """The distribution's ``*.dist-info`` folder."""


def entry_points(group: str) -> list[EntryPoint]:
    """Return the entry points of a group, from every distribution in the folders of ``sys.path``.

    Of two distributions with the same name the first counts, as for imports. Distributions inside zip files
    are not seen.

    Format: https://packaging.python.org/en/latest/specifications/entry-points/
    """
    return [
        EntryPoint(name, module, metadata)
        for metadata in _metadata_folders()
        for name, module in _read_group(metadata, group)
    ]


def _metadata_folders() -> Iterator[Path]:
    seen = set()
    for folder in sys.path:
        try:
            names = os.listdir(folder or ".")
        except OSError:
            continue
        for name in names:
            if not (match := _METADATA_FOLDER.fullmatch(name)):
                continue
            distribution = re.sub(r"[-_.]+", "-", match[1]).lower()
            if distribution not in seen:
                seen.add(distribution)
                yield Path(folder, name)


def _read_group(metadata: Path, group: str) -> Iterator[tuple[str, str]]:
    try:
        text = (metadata / "entry_points.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    yield from parse_group(text, group)


def parse_group(text: str, group: str) -> Iterator[tuple[str, str]]:
    """Yield name and module of each entry point of a group in an ``entry_points.txt``."""
    section = None
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif section == group and not line.startswith("#"):
            name, _, value = line.partition("=")
            if module := _MODULE.match(value.strip()):
                yield name.strip(), module[0]
