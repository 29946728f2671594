"""Read the options that trainers share."""

from __future__ import annotations

from zoo_core import OptionError


def whole_numbers(text: str, flag: str) -> tuple[int, ...]:
    """Return positive integers separated by commas; OptionError if they are not."""
    try:
        numbers = tuple(int(part) for part in text.split(","))
    except ValueError:
        numbers = (0,)
    if any(number < 1 for number in numbers):
        raise OptionError(
            f"{flag} does not accept {text!r}.", "Give integers separated by commas, such as 32,64."
        )
    return numbers
