"""Run a generator as the core does, but let its exceptions through: an author needs the traceback."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo_core.protocols import RESULTS, Batch, Generator, Prompt, Step
from zoo_core.running.model import Model
from zoo_core.running.starting import start as begin
from zoo_core.samples.sample import Sample

Row = Tensor | str | Mapping[str, Sequence[Any]]
"""One sample: a tensor, a text, or the columns of a table."""


@dataclass(frozen=True)
class Runner:
    """A loaded model with the prompt and options that every run uses by default."""

    model: Model
    prompt: str | None
    options: Mapping[str, Any]

    def batch(
        self, seeds: Sequence[int], *, prompt: Prompt | Sequence[Prompt] | None = None, **options: Any
    ) -> Batch:
        """Return the batch that a generator gets for these seeds."""
        prompt = self.prompt if prompt is None else prompt
        return self.model.batch(list(self.model.plan(prompt, seeds=seeds, **{**self.options, **options})))

    def steps(self, seeds: Sequence[int], **request: Any) -> list[Step]:
        """Return every step of one :meth:`batch`; AssertionError if the run does not end."""
        return list(drive(self.model.generator, self.batch(seeds, **request)))

    def rows(self, seeds: Sequence[int], **request: Any) -> list[Row]:
        """Return the result of one batch, one row per sample."""
        return rows_of(self.last(seeds, **request))

    def last(self, seeds: Sequence[int], **request: Any) -> Step:
        """Return the last step of one batch, keeping no earlier ones; AssertionError if there is none."""
        steps = deque(drive(self.model.generator, self.batch(seeds, **request)), maxlen=1)
        assert steps, "The run yielded no step."
        return steps[0]


def drive(generator: Generator, batch: Batch) -> Iterator[Step]:
    """Yield the steps of one batch, each computed in inference mode.

    Raises:
        AssertionError: There are far more steps than the first one announced.
    """
    steps = start(generator, batch)
    count, limit = 0, 1
    try:
        while (step := advance(steps)) is not None:
            count += 1
            if count == 1:
                limit = 2 * step.total + 10
            assert count <= limit, f"The run announced {step.total} steps and has not ended after {limit}."
            yield step
    finally:
        close(steps)


def start(generator: Generator, batch: Batch) -> Iterator[Step]:
    """Begin a run; nothing needs to be computed before the first step is requested."""
    with torch.inference_mode():
        return begin(generator, batch)


def advance(steps: Iterator[Step]) -> Step | None:
    """Compute one step in inference mode; return None after the last."""
    with torch.inference_mode():
        return next(steps, None)


def close(steps: Iterator[Step]) -> None:
    """Cancel a run, as the core does."""
    if stop := getattr(steps, "close", None):
        stop()


def row_of(sample: Sample) -> Row:
    """Return the content of a sample."""
    if sample.tensor is not None:
        return sample.tensor
    return sample.text or "" if sample.table is None else sample.table


def rows_of(step: Step) -> list[Row]:
    """Return the samples in a step."""
    rows = next((rows for output in RESULTS if (rows := step.rows(output)) is not None), ())
    return list(rows.float().cpu() if isinstance(rows, Tensor) else rows)
