"""Options that both trainers share."""

from __future__ import annotations

import torch

from zoo_core import OptionError

WEIGHT_DTYPES = {"float32": torch.float32, "float16": torch.float16}
DEFAULT_CHANNELS = (128, 128, 64, 32, *[16] * 8)
"""Channels of the feature maps from 4×4 up."""


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
