"""The class of each sample of a batch: what the option ``label`` (``each``) says, or one drawn."""

from __future__ import annotations

from collections.abc import Sequence

from zoo_core.errors import OptionError
from zoo_core.noise import Noise


def draw_labels(given: Sequence[int | None], classes: int, noise: Noise) -> list[int]:
    """One label per sample: the given one, or where there is none, one drawn from its stream.

    A number is drawn from every stream whether it is needed or not, so that a seed makes the same picture
    with a drawn label as with that label given.

    Args:
        given: The option's values, one per sample.
        classes: How many there are; labels begin at 0.
        noise: The batch's.

    Raises:
        OptionError: There is no such class.
    """
    for label in given:
        if label is not None and not 0 <= label < classes:
            raise OptionError(
                f"--label {label}: this model has {classes} classes.", f"Give 0 to {classes - 1}."
            )
    drawn = [int(u * classes) for u in noise.uniform(1).flatten().tolist()]
    return [d if label is None else label for label, d in zip(given, drawn, strict=True)]
