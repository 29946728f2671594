"""Limits on untrusted TOML: text length, nesting, control characters, number range.

The texts of a manifest are printed on terminals, its numbers are computed with and its paths are opened, also
for plugins that a registry only lists. So the whole document is checked before any of it is used.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo_core.errors import CardError, short_repr

LONGEST_TEXT = 20_000
"""Maximum length of a text; the longest in an honest manifest, a BibTeX entry, has a thousand characters."""
LONGEST_KEY = 100
DEEPEST = 8
"""Maximum nesting of tables and lists."""
LARGEST_NUMBER = 2**63
"""TOML's integers are below it."""

_JOINERS = "\u200c\u200d"
"""Format characters that some scripts and emoji need."""


def screen(document: Mapping[str, Any], file: Path | str) -> None:
    """Check every key and value of a parsed TOML document.

    Raises:
        CardError: A key or a text is too long or contains control characters, a number is too large, or
            tables are nested too deeply. Names the file and the key.
    """
    for name, key, value, depth in _walk(document):
        problem = _problem(key, value, depth)
        if problem:
            where = f"[{name}] " if name else ""
            raise CardError(f"{file}: {where}{_shortened(key)}: expected {problem}.", "Correct that file.")


def _walk(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Any, int]]:
    """Yield every value with its table, its key (in a list, its position) and its depth."""
    todo: list[tuple[str, Any, int]] = [("", document, 1)]
    while todo:
        name, container, depth = todo.pop()
        pairs: Iterator[tuple[str, Any]] = (
            iter(container.items())
            if isinstance(container, Mapping)
            else ((str(number), item) for number, item in enumerate(container, start=1))
        )
        for key, value in pairs:
            yield name, key, value, depth
            if isinstance(value, (Mapping, list)):
                joint = "." if isinstance(container, Mapping) else " "
                todo.append((f"{name}{joint}{key}" if name else key, value, depth + 1))


def _problem(key: str, value: object, depth: int) -> str | None:
    """Return what was expected; None if nothing is wrong."""
    if len(key) > LONGEST_KEY or not is_plain(key, ""):
        return f"a key of at most {LONGEST_KEY} printable characters"
    if depth > DEEPEST:
        return f"tables and lists at most {DEEPEST} deep"
    if isinstance(value, str):
        if len(value) > LONGEST_TEXT:
            return f"at most {LONGEST_TEXT} characters, not {len(value)}"
        if not is_plain(value, "\n\t"):
            return f"text without control characters, not {short_repr(value)}"
    elif isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) >= LARGEST_NUMBER:
        return f"a number below 2^63, not {short_repr(value)}"
    return None


def is_plain(text: str, also: str) -> bool:
    """Return True if a text holds no control and no bidi characters except those in ``also``."""
    if text.isprintable():
        return True
    return all(
        character in also
        or character in _JOINERS
        or not unicodedata.category(character).startswith(("Cc", "Cf", "Cs", "Zl", "Zp"))
        for character in text
    )


def _shortened(key: str) -> str:
    return key if len(key) <= LONGEST_KEY and key.isprintable() else short_repr(key)
