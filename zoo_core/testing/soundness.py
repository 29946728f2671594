"""What a run of a generator must look like; AssertionError says in a sentence what is wrong with it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest

import torch

from zoo_core.protocols import Step
from zoo_core.testing.driving import Row

AROUND = 30
"""Characters that are shown before and after the place where two texts part."""
TOLERANCE = 1e-4
"""How far two makings of a sample may differ, in [-1, 1]: rounding depends on how many ride in a batch."""


def require_result(steps: Sequence[Step], output: str) -> None:
    """There is a step, and the last one carries what the card calls its output."""
    assert steps, "The run yielded no step."
    carried = {"image": steps[-1].images, "text": steps[-1].texts}
    assert carried.get(output) is not None, f"The last step carries no {output}."


def require_sound(steps: Sequence[Step], n: int) -> None:
    """Everything in the steps can be compared with another run and be recorded."""
    require_rows(steps, n)
    require_images(steps)
    require_texts(steps)
    require_facts(steps)


def require_rows(steps: Sequence[Step], n: int) -> None:
    """Whatever a step carries, it carries n of it."""
    for step in steps:
        for what in ("images", "texts", "metadata"):
            carried = getattr(step, what)
            assert carried is None or len(carried) == n, f"{n} samples have {len(carried)} {what}."


def require_images(steps: Sequence[Step]) -> None:
    """Images are finite floats (n, c, h, w) in [-1, 1] with 1, 3 or 4 channels."""
    for step in steps:
        if step.images is None:
            continue
        where = f"The images of step {step.index}"
        shape = tuple(step.images.shape)
        assert step.images.is_floating_point(), f"{where} are {step.images.dtype}, not floats."
        assert len(shape) == 4, f"{where} have the shape {shape}, not (n, c, h, w)."
        assert shape[1] in (1, 3, 4), f"{where} have {shape[1]} channels, not 1, 3 or 4."
        assert torch.isfinite(step.images).all(), f"{where} hold values that are not finite."
        largest = step.images.abs().max().item()
        assert largest <= 1, f"{where} leave [-1, 1]: the largest value is {largest:g}."


def require_texts(steps: Sequence[Step]) -> None:
    """Texts are strings that UTF-8 can hold."""
    for step in steps:
        for text in step.texts or ():
            assert isinstance(text, str), f"A text of step {step.index} is a {type(text).__name__}."
            text.encode()


def require_facts(steps: Sequence[Step]) -> None:
    """Facts are mappings that JSON can hold."""
    for step in steps:
        for fact in step.metadata or ():
            assert isinstance(fact, Mapping), f"A fact of step {step.index} is no mapping: {fact!r}."
            json.dumps(dict(fact))


def require_alike(made: Sequence[Row], expected: Sequence[Row], what: str) -> None:
    """Two makings of the same samples agree to TOLERANCE; ``what`` begins the sentence if they do not."""
    assert len(made) == len(expected), f"{what} has {len(made)} samples, not {len(expected)}."
    for i, (one, other) in enumerate(zip(made, expected, strict=True)):
        apart = difference(one, other)
        assert apart <= TOLERANCE, (
            f"{what} differs in sample {i}: {_parting(one, other)}."
            if isinstance(one, str) and isinstance(other, str)
            else f"{what} differs in sample {i} by {apart:.2g}."
        )


def _parting(one: str, other: str) -> str:
    """Where two texts part, with what is around that place."""
    pairs = zip_longest(one, other)
    at = next((place for place, (a, b) in enumerate(pairs) if a != b), len(one))
    around = slice(max(0, at - AROUND), at + AROUND)
    return f"from character {at + 1} on, {one[around]!r} is not {other[around]!r}"


def difference(made: Row, expected: Row) -> float:
    """The largest difference of two images' values; of texts 0 or infinity."""
    if isinstance(made, str) or isinstance(expected, str):
        return 0.0 if made == expected else float("inf")
    if made.shape != expected.shape:
        return float("inf")
    return (made - expected).abs().max().item()
