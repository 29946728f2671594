"""Feature maps from 4×4 up, each of twice the resolution of the one before: their sides and channels."""

from __future__ import annotations

from typing import Annotated

from zoo_core import Between, OptionError

MIN_RESOLUTION, MAX_RESOLUTION = 4, 1024
"""Side of the smallest feature map, and of the largest image."""
MAX_LEVELS = (MAX_RESOLUTION // MIN_RESOLUTION).bit_length()
DEFAULT_CHANNELS = (128, 128, 64, 32, *[16] * 8)
"""Channels of the feature maps from 4×4 up."""

Size = Annotated[int, Between(1, 2**16 - 1)]
"""A width, a count or a side in a config.json."""


def resolutions(levels: int) -> tuple[int, ...]:
    """Return the sides of so many feature maps: 4, 8, 16, …"""
    return tuple(MIN_RESOLUTION << level for level in range(levels))


def read_channels(text: str | None, flag: str, count: int) -> tuple[int, ...]:
    """Read the channels of ``count`` feature maps; None: the first ``count`` of ``DEFAULT_CHANNELS``."""
    return DEFAULT_CHANNELS[:count] if text is None else read_numbers(text, flag, count)


def read_numbers(text: str, flag: str, count: int | None = None) -> tuple[int, ...]:
    """Read positive integers such as ``64,32,16``, ``count`` of them or any number; OptionError otherwise."""
    parts = text.split(",")
    numbers = tuple(int(part) for part in parts if part.strip().isdecimal())
    if len(numbers) != len(parts) or 0 in numbers or (count is not None and len(numbers) != count):
        wanted = "positive integers" if count is None else f"{count} positive integers, from the 4×4 map up"
        raise OptionError(f"{flag} is {text!r}; expected {wanted}.", f"For example: {flag} 128,128,64,32,24")
    return numbers
