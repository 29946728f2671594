"""Run a generator as the core does, but containing nothing: an author needs its own tracebacks."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo_core.protocols import Batch, Generator, Step
from zoo_core.running.model import Model

Row = Tensor | str
"""What one sample is: an image (c, h, w), or a text."""


@dataclass(frozen=True)
class Runner:
    """A loaded model with the prompt and the options that every run of it starts from."""

    model: Model
    prompt: str | None
    options: Mapping[str, Any]

    def batch(
        self, seeds: Sequence[int], *, prompt: str | Sequence[str] | None = None, **options: Any
    ) -> Batch:
        """The batch a generator gets for these seeds."""
        prompt = self.prompt if prompt is None else prompt
        return self.model.batch(list(self.model.plan(prompt, seeds=seeds, **{**self.options, **options})))

    def steps(
        self, seeds: Sequence[int], *, prompt: str | Sequence[str] | None = None, **options: Any
    ) -> list[Step]:
        """Every step of one batch.

        Raises:
            AssertionError: The run does not end.
        """
        return list(drive(self.model.generator, self.batch(seeds, prompt=prompt, **options)))

    def rows(
        self, seeds: Sequence[int], *, prompt: str | Sequence[str] | None = None, **options: Any
    ) -> list[Row]:
        """The result of one batch, sample by sample."""
        return rows_of(self.last(seeds, prompt=prompt, **options))

    def last(
        self, seeds: Sequence[int], *, prompt: str | Sequence[str] | None = None, **options: Any
    ) -> Step:
        """The last step of one batch, without those before it in memory.

        Raises:
            AssertionError: The run yields no step, or does not end.
        """
        steps = deque(drive(self.model.generator, self.batch(seeds, prompt=prompt, **options)), maxlen=1)
        assert steps, "The run yielded no step."
        return steps[0]


def drive(generator: Generator, batch: Batch) -> Iterator[Step]:
    """The steps of one batch, each computed in inference mode; AssertionError once there are far too many."""
    steps = start(generator, batch)
    count, limit = 0, 1
    try:
        while (step := advance(steps)) is not None:
            count += 1
            if count == 1:
                limit = 2 * step.total + 10
            assert count <= limit, f"A run of {step.total} steps has not ended after {limit}."
            yield step
    finally:
        close(steps)


def start(generator: Generator, batch: Batch) -> Iterator[Step]:
    """Begin a run; nothing need be computed before the first step is asked for."""
    with torch.inference_mode():
        return iter(generator.generate(batch))


def advance(steps: Iterator[Step]) -> Step | None:
    """Compute one step in inference mode; None after the last."""
    with torch.inference_mode():
        return next(steps, None)


def close(steps: Iterator[Step]) -> None:
    """Cancel a run, as the core does."""
    if stop := getattr(steps, "close", None):
        stop()


def rows_of(step: Step) -> list[Row]:
    """The samples in a step."""
    if step.images is not None:
        return list(step.images.float().cpu())
    return list(step.texts or ())
