"""Texts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OutputError
from zoo_core.samples.kinds.kind import Kind
from zoo_core.samples.match import Match

if TYPE_CHECKING:
    from zoo_core.samples.sample import Sample


class Text(Kind):
    """Texts."""

    name = "text"
    suffixes = (".txt",)
    image_suffixes = ()

    def problem(self, rows: Any) -> str | None:
        """Require strings."""
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            return f"a {type(rows).__name__} where a tuple of texts belongs"
        wrong = next((row for row in rows if not isinstance(row, str)), None)
        return None if wrong is None else f"a {type(wrong).__name__} where a text belongs"

    def encode(self, sample: Sample, suffix: str) -> bytes:
        """Return the text in UTF-8."""
        return text_bytes(sample)

    def compare(self, path: Path, again: Sample) -> Match:
        """Compare characters."""
        new = text_bytes(again)
        return compare_texts(read_text(path, len(new) + 1), new)


def text_bytes(sample: Sample) -> bytes:
    """Return a text sample in UTF-8; lone surrogates are kept, so that reading gives the same text."""
    return (sample.text or "").encode("utf-8", "surrogatepass")


def read_text(path: Path, most: int) -> bytes:
    """Return at most so many bytes of a file."""
    try:
        with open(path, "rb") as file:
            return file.read(most)
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from None


def compare_texts(old: bytes, new: bytes) -> Match:
    """Compare two texts in UTF-8."""
    if old == new:
        return Match("identical", "The text is the same.")
    differing = (place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    same = next(differing, min(len(old), len(new)))
    characters = len(old[:same].decode("utf-8", "ignore"))
    return Match("different", f"The texts differ from character {characters + 1} on.")
