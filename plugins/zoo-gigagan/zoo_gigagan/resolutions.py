"""Resolutions of feature maps, from 4×4 up, each twice the one before."""

from __future__ import annotations

from typing import Annotated

from zoo_core import Between

MIN_RESOLUTION, MAX_RESOLUTION = 4, 1024
"""Side of the smallest feature map, and of the largest image."""
MAX_LEVELS = (MAX_RESOLUTION // MIN_RESOLUTION).bit_length()

Size = Annotated[int, Between(1, 2**16 - 1)]
"""A width, a count or a side in a config.json."""


def resolutions(levels: int) -> tuple[int, ...]:
    """Return the sides of so many feature maps: 4, 8, 16, …"""
    return tuple(MIN_RESOLUTION << level for level in range(levels))
