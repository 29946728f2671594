"""The result of comparing a reproduced sample with its file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Match:
    """How alike the two are."""

    verdict: Literal["identical", "rounding", "different"]
    """``rounding``: no value differs by more than rounding alone explains."""
    sentence: str
    """The verdict in words, with the figure."""
    levels: int | None = None
    """The largest difference of two pixels in 8-bit levels; None for other kinds, and for two sizes."""


def match_numbers(what: str, largest: float, rounding: float, shown: str) -> Match:
    """Return the verdict on numbers.

    Args:
        what: The subject of the sentence: ``points``.
        largest: The largest difference.
        rounding: Up to which difference they count as the same within rounding.
        shown: The largest difference in words.
    """
    if largest == 0:
        return Match("identical", f"The {what} are the same.")
    if largest <= rounding:
        return Match(
            "rounding", f"The {what} are the same within rounding: the largest difference is {shown}."
        )
    return Match("different", f"The {what} differ: the largest difference is {shown}.")
