"""Texts as tokens: a line break and the 95 characters of ASCII that can be printed, a token each."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_core import OptionError

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
END = 0
"""The line break: it begins a text, and ends it."""
SIZE = len(CHARACTERS)


def encode(text: str) -> list[int]:
    """The tokens of a text, without the one that ends it.

    Raises:
        OptionError: A character that the alphabet lacks.
    """
    if unknown := next((c for c in text if c not in CHARACTERS), None):
        raise OptionError(f"This model cannot read {unknown!r}.", "Use printable ASCII.")
    return [CHARACTERS.index(character) for character in text]


def encode_whole(text: str) -> list[int]:
    """The tokens of a text to learn from: what the alphabet lacks left out, and the one that ends it."""
    return [*encode("".join(c for c in text if c in CHARACTERS)), END]


def decode(tokens: Iterable[int]) -> str:
    """The text up to the token that ends it."""
    text = []
    for token in tokens:
        if token == END:
            break
        text.append(CHARACTERS[token])
    return "".join(text)
