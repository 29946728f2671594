"""What both trainers' options say in words."""

from __future__ import annotations

import torch

from zoo_core import OptionError

WEIGHT_TYPES = {"float32": torch.float32, "float16": torch.float16}


CHANNELS = (128, 128, 64, 32, *[16] * 8)
"""Of the maps from 4×4 up, unless something else is asked for."""


def read_channels(text: str | None, flag: str, count: int) -> tuple[int, ...]:
    """Read the channels of ``count`` maps, or take as many of the default; see ``read_numbers``."""
    return CHANNELS[:count] if text is None else read_numbers(text, flag, count)


def read_numbers(text: str, flag: str, count: int | None = None) -> tuple[int, ...]:
    """Read a list as in 64,32,16.

    Args:
        text: The list.
        flag: The option, for messages.
        count: How many there must be; None: any number.

    Raises:
        OptionError: It is no list of positive numbers, or not of so many.
    """
    parts = text.split(",")
    numbers = tuple(int(part) for part in parts if part.strip().isdecimal())
    if len(numbers) != len(parts) or 0 in numbers or (count is not None and len(numbers) != count):
        wanted = "numbers" if count is None else f"{count} numbers, for the maps from 4×4 up"
        raise OptionError(f"{flag} is {text!r}.", f"Give {wanted}, such as {flag} 128,128,64,32,24.")
    return numbers
