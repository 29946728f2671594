"""A unit: one sample that waits for its batch."""

from __future__ import annotations

from dataclasses import dataclass

from zoo_core import Model, Request, Sample, Step
from zoo_serve.engine.job import Advanced, Failed, Finished, Job


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
        self.job.post(Failed(error))
        self.job.ended = True
