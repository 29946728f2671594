"""The class of each sample of a batch: what the option ``label`` (``each``) says, or one drawn."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate

from zoo_core.errors import OptionError
from zoo_core.noise import Noise


def draw_labels(
    given: Sequence[int | None], classes: int, noise: Noise, weights: Sequence[float] | None = None
) -> list[int]:
    """One label per sample: the given one, or where there is none, one drawn from its stream.

    A number is drawn from every stream whether it is needed or not, so that a seed makes the same picture
    with a drawn label as with that label given.

    Args:
        given: The option's values, one per sample.
        classes: How many there are; labels begin at 0.
        noise: The batch's.
        weights: How likely each class is to be drawn, up to a common factor; None: all alike.

    Raises:
        OptionError: There is no such class.
    """
    for label in given:
        if label is not None and not 0 <= label < classes:
            raise OptionError(
                f"--label {label}: this model has {classes} classes.", f"Give 0 to {classes - 1}."
            )
    bounds = list(accumulate(weights or [1.0] * classes))
    drawn = [
        min(bisect_right(bounds, u * bounds[-1]), classes - 1) for u in noise.uniform(1).flatten().tolist()
    ]
    return [d if label is None else label for label, d in zip(given, drawn, strict=True)]
