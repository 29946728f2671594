"""Convert text to tokens: one for the line break and one for each of the 95 printable ASCII characters."""

from __future__ import annotations

from collections.abc import Iterable

from zoo_core import OptionError

CHARACTERS = "\n" + "".join(map(chr, range(32, 127)))
END = 0
"""The line break; it marks the beginning and the end of a text."""
SIZE = len(CHARACTERS)


def encode(text: str) -> list[int]:
    """Return the tokens of a text, without END.

    Raises:
        OptionError: The text has a character that is not in the alphabet.
    """
    if unknown := next((c for c in text if c not in CHARACTERS), None):
        raise OptionError(f"This model does not know the character {unknown!r}.", "Use printable ASCII.")
    return [CHARACTERS.index(character) for character in text]


def encode_training_text(text: str) -> list[int]:
    """Return the tokens of a text and END; characters that are not in the alphabet are left out."""
    return [*encode("".join(c for c in text if c in CHARACTERS)), END]


def decode(tokens: Iterable[int]) -> str:
    """Return the text up to END."""
    text = []
    for token in tokens:
        if token == END:
            break
        text.append(CHARACTERS[token])
    return "".join(text)
