"""A run whose samples come and go: each joins and leaves a running batch of texts at any token."""

from __future__ import annotations

from collections.abc import Mapping

from zoo_core.protocols import ContinuousBatching, Step
from zoo_core.running.model import Model
from zoo_core.running.planning import Request
from zoo_core.samples.sample import Sample


class ContinuousRun:
    """The texts that a model is writing.

    Args:
        model: A model whose generator is a :class:`ContinuousBatching`.

    An error of :meth:`step` ends the run: begin another one.
    """

    def __init__(self, model: Model) -> None:
        if not isinstance(model.generator, ContinuousBatching):
            raise TypeError(f"{model.card.id} has no running_batch()")
        self._model = model
        with model.computing():
            self._batch = model.generator.running_batch()
        self._requests: dict[int, Request] = {}

    def join(self, request: Request) -> int:
        """Add a sample; return the number that stands for it.

        Raises:
            ZooError: The model refuses it; the others are not affected.
        """
        with self._model.computing():
            number = self._batch.join(self._model.batch([request]))
        self._requests[number] = request
        return number

    def leave(self, number: int) -> None:
        """Drop a sample that is not done."""
        del self._requests[number]
        with self._model.computing():
            self._batch.leave(number)

    def step(self) -> Mapping[int, tuple[Step, Sample | None]]:
        """Advance every sample; return its step, and the sample if it is done and has left."""
        with self._model.computing():
            steps = self._batch.step()
        told: dict[int, tuple[Step, Sample | None]] = {}
        for number, step in steps.items():
            done = step.index >= step.total
            request = self._requests.pop(number) if done else self._requests[number]
            told[number] = (step, self._model.sample(request, step) if done else None)
        return told
