"""Validate the steps of a run; an AssertionError says in one sentence what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest

import torch

from zoo_core.protocols import Step
from zoo_core.testing.runner import Row

AROUND = 30
"""Number of characters shown before and after the first difference of two texts."""
TOLERANCE = 1e-4
"""Allowed difference of values in [-1, 1]: rounding depends on the batch size."""


def require_result(steps: Sequence[Step], output: str) -> None:
    """Require at least one step, the last of them with the output that the card declares."""
    assert steps, "The run yielded no step."
    results = {"image": steps[-1].images, "text": steps[-1].texts}
    assert results.get(output) is not None, f"The last step has no {output}."


def require_sound(steps: Sequence[Step], n: int) -> None:
    """Require steps that can be compared with another run and recorded."""
    require_rows(steps, n)
    require_images(steps)
    require_texts(steps)
    require_metadata(steps)


def require_rows(steps: Sequence[Step], n: int) -> None:
    """Require n rows in every field of every step."""
    for step in steps:
        for what in ("images", "texts", "metadata"):
            rows = getattr(step, what)
            assert rows is None or len(rows) == n, (
                f"Step {step.index} has {len(rows)} {what} for {n} samples."
            )


def require_images(steps: Sequence[Step]) -> None:
    """Require finite float images (n, c, h, w) in [-1, 1] with 1, 3 or 4 channels."""
    for step in steps:
        if step.images is None:
            continue
        where = f"The images of step {step.index}"
        shape = tuple(step.images.shape)
        assert step.images.is_floating_point(), f"{where} are {step.images.dtype}, not floats."
        assert len(shape) == 4, f"{where} have the shape {shape}, not (n, c, h, w)."
        assert shape[1] in (1, 3, 4), f"{where} have {shape[1]} channels, not 1, 3 or 4."
        assert torch.isfinite(step.images).all(), f"{where} contain NaN or infinity."
        largest = step.images.abs().max().item()
        assert largest <= 1, f"{where} are outside [-1, 1]: the largest absolute value is {largest:g}."


def require_texts(steps: Sequence[Step]) -> None:
    """Require strings that UTF-8 can encode."""
    for step in steps:
        for text in step.texts or ():
            assert isinstance(text, str), f"A text of step {step.index} is a {type(text).__name__}."
            text.encode()


def require_metadata(steps: Sequence[Step]) -> None:
    """Require mappings that JSON can represent."""
    for step in steps:
        for row in step.metadata or ():
            assert isinstance(row, Mapping), f"Metadata of step {step.index} is not a mapping: {row!r}."
            json.dumps(dict(row))


def require_alike(rows: Sequence[Row], expected: Sequence[Row], what: str) -> None:
    """Require two results of the same samples to agree up to TOLERANCE; ``what`` begins the error message."""
    assert len(rows) == len(expected), f"{what} has {len(rows)} samples, not {len(expected)}."
    for i, (one, other) in enumerate(zip(rows, expected, strict=True)):
        apart = difference(one, other)
        assert apart <= TOLERANCE, (
            f"{what} differs in sample {i}: {_first_difference(one, other)}."
            if isinstance(one, str) and isinstance(other, str)
            else f"{what} differs in sample {i} by {apart:.2g}."
        )


def _first_difference(one: str, other: str) -> str:
    """Describe the first difference of two texts, with the characters around it."""
    pairs = zip_longest(one, other)
    at = next((place for place, (a, b) in enumerate(pairs) if a != b), len(one))
    around = slice(max(0, at - AROUND), at + AROUND)
    return f"from character {at + 1}, {one[around]!r} is not {other[around]!r}"


def difference(row: Row, expected: Row) -> float:
    """Return the largest absolute difference of two images; for texts, 0 or infinity."""
    if isinstance(row, str) or isinstance(expected, str):
        return 0.0 if row == expected else float("inf")
    if row.shape != expected.shape:
        return float("inf")
    return (row - expected).abs().max().item()
