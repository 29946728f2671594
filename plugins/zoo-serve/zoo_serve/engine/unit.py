"""What waits for a model: a sample for its batch, or a call."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from zoo_core import Model, Request, Sample, Step
from zoo_serve.engine.job import Advanced, Computed, Failed, Finished, Job


@dataclass(frozen=True, eq=False)
class Unit:
    """One sample of a job."""

    job: Job
    request: Request

    @property
    def key(self) -> object:
        """Equal for samples that can share a batch: those whose common options are equal."""
        options = self.job.card.options
        return tuple(
            (name, value) for name, value in self.request.options.items() if not options[name].per_sample
        )

    def advance(self, step: Step, row: int) -> None:
        """Tell the job of a step, if it wants to know."""
        if self.job.watched:
            text = None if step.texts is None else step.texts[row]
            tensor = None if step.images is None else step.images[row].detach().to("cpu", copy=True)
            self.job.post(Advanced(self.request.index, step.index, step.total, text, tensor))

    def finish(self, model: Model, sample: Sample) -> None:
        """Tell the job that the sample is done."""
        try:
            extra = self.job.annotate(model, sample) if self.job.annotate else None
        except Exception as error:
            self.fail(error)
        else:
            self.job.post(Finished(sample, extra))

    def fail(self, error: Exception) -> None:
        """Tell the job what went wrong."""
        _fail(self.job, error)


@dataclass(frozen=True, eq=False)
class Call:
    """Something to compute with the model that is no sample."""

    job: Job
    index: int
    compute: Callable[[Model], Any]

    key = None
    """No sample shares a batch with it."""

    def run(self, model: Model) -> None:
        """Compute it, and tell the job."""
        if self.job.ended:
            return
        try:
            self.job.post(Computed(self.index, self.compute(model)))
        except Exception as error:
            self.fail(error)

    def fail(self, error: Exception) -> None:
        """Tell the job what went wrong."""
        _fail(self.job, error)


def units_of(job: Job) -> list[Unit | Call]:
    """Return what a job waits for."""
    calls = (Call(job, index, compute) for index, compute in enumerate(job.calls))
    return [*(Unit(job, request) for request in job.requests), *calls]


def _fail(job: Job, error: Exception) -> None:
    job.post(Failed(error))
    job.ended = True
