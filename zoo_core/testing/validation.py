"""Validate the steps of a run; an AssertionError says in one sentence what is wrong."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from itertools import zip_longest
from typing import Any

import torch

from zoo_core.protocols import RESULTS, Step
from zoo_core.samples.kinds import KINDS
from zoo_core.testing.runner import Row

AROUND = 30
"""Number of characters shown before and after the first difference of two texts."""
TOLERANCE = 1e-4
"""Allowed difference of values in [-1, 1]: rounding depends on the batch size."""


def require_result(steps: Sequence[Step], output: str) -> None:
    """Require at least one step, the last of them with the output that the card declares."""
    assert steps, "The run yielded no step."
    assert steps[-1].rows(output) is not None, f"The last step has no {output}."


def require_sound(steps: Sequence[Step], n: int) -> None:
    """Require steps that can be compared with another run and recorded."""
    require_rows(steps, n)
    for output in KINDS:
        require_kind(steps, output)
    require_metadata(steps)


def require_rows(steps: Sequence[Step], n: int) -> None:
    """Require n rows in every field of every step."""
    for step in steps:
        for what in (*RESULTS.values(), "metadata"):
            rows = getattr(step, what)
            assert rows is None or len(rows) == n, (
                f"Step {step.index} has {len(rows)} {what} for {n} samples."
            )


def require_kind(steps: Sequence[Step], output: str) -> None:
    """Require what steps have of one kind of output to be sound: shapes, types, ranges, finite values."""
    kind, field = KINDS[output], RESULTS[output]
    for step in steps:
        rows = step.rows(output)
        if rows is None:
            continue
        where = f"The {field} of step {step.index}"
        wrong = kind.problem(rows)
        assert wrong is None, f"{where} are {wrong}."
        if isinstance(rows, torch.Tensor):
            assert rows.is_floating_point(), f"{where} are {rows.dtype}, not floats."
            assert torch.isfinite(rows).all(), f"{where} contain NaN or infinity."
        outside = kind.out_of_range(rows)
        assert outside is None, f"{where} are {outside}."
        if kind.needs_rate:
            assert (step.rate or 0) > 0, f"{where} have the rate {step.rate}."
        if output == "text":
            for text in rows:
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
    """Return the largest absolute difference of two samples' numbers; for texts, 0 or infinity."""
    if isinstance(row, Mapping) and isinstance(expected, Mapping):
        return _tables_apart(row, expected)
    if not isinstance(row, torch.Tensor) or not isinstance(expected, torch.Tensor):
        return 0.0 if row == expected else float("inf")
    if row.shape != expected.shape:
        return float("inf")
    return (row - expected).abs().max().item()


def _tables_apart(one: Mapping[str, Sequence[Any]], other: Mapping[str, Sequence[Any]]) -> float:
    if list(one) != list(other) or any(len(one[name]) != len(other[name]) for name in one):
        return float("inf")
    pairs = ((a, b) for name in one for a, b in zip(one[name], other[name], strict=True))
    return max(
        (0.0 if a == b else float("inf")) if isinstance(a, str) or isinstance(b, str) else abs(a - b)
        for a, b in pairs
    )
