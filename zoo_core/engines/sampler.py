"""The worker that makes samples: it loads a model once, and writes samples or returns them."""

from __future__ import annotations

import pkgutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast

from zoo_core.engines.protocol import Index, Row
from zoo_core.environment import Environment
from zoo_core.errors import OutputError, ZooError
from zoo_core.files import as_path
from zoo_core.running.planning import Plan, Request
from zoo_core.samples.folder import RunFolder
from zoo_core.samples.single import frames_for

if TYPE_CHECKING:
    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample


@dataclass(frozen=True)
class SamplingJob:
    """What to sample and where to write it: plain data."""

    model: str
    """Any name that ``zoo run`` takes; every worker resolves it."""
    plan: Plan
    device: str = "auto"
    """Used where the engine does not choose the device."""
    dtype: str = "auto"
    adapter: str | None = None
    """A LoRA to merge into the weights: any name that ``zoo run --adapter`` takes."""
    batch_size: int | None = None
    folder: str | None = None
    """Where workers write: a folder that all machines share, or an address. None: samples are returned."""
    overwrite: bool = False
    steps: str | None = None
    """``gif``, ``apng`` or ``x0``: also write an animation of each image's steps."""
    keep_frames: bool | Literal["x0"] = False
    """Returned samples need their frames."""
    mark: str | None = None
    """A file in ``folder`` that a worker must see, or the folder is not shared."""
    index: str | None = None
    """The target of the index of what is written."""


@dataclass(frozen=True)
class Description:
    """What a worker says of itself."""

    record: Record
    """The record of any sample: versions, weights, dtype, kind of device."""
    batch_size: int


@dataclass(frozen=True)
class Made:
    """A sample that is done, or could not be made."""

    index: int
    record: Record
    path: str | None = None
    """Where it was written."""
    sample: Sample | None = None
    """The sample itself, if workers do not write."""
    problem: tuple[str, str] | None = None
    """Why it could not be made: message and remedy."""

    @property
    def row(self) -> Row | None:
        """The row of the index; None for a sample that was not written."""
        if self.path is None:
            return None
        return Row(self.index, self.path.rpartition("/")[2], self.record.to_json())


class Sampler:
    """Makes the samples of a plan at the positions that a task lists."""

    def __init__(self, job: SamplingJob, device: str | None = None) -> None:
        self._job = job
        self._out: RunFolder | None = None
        self._index: Index | None = None
        if job.folder is not None:
            folder = as_path(job.folder)
            if job.mark and not (folder / job.mark).exists():
                raise OutputError(
                    f"{job.folder} is another folder on this machine.",
                    "Give a folder that all machines share, or an address such as s3://BUCKET/RUN.",
                )
            self._out = RunFolder(folder, overwrite=job.overwrite, steps=job.steps)
            self._index = open_index(job.index, folder) if job.index else None
        self._model = Environment.current().load(
            job.model, device=device or job.device, dtype=job.dtype, adapter=job.adapter
        )

    def describe(self) -> Description:
        """Return what determines the samples."""
        record = self._model.record(next(self._job.plan.part([0])))
        return Description(record, self._model.batch_size(self._job.batch_size))

    def run(self, task: Sequence[int]) -> list[Made]:
        """Make the samples at these positions of the plan, batch by batch."""
        size = self._model.batch_size(self._job.batch_size)
        requests = list(self._job.plan.part(task))
        made = [
            each
            for start in range(0, len(requests), size)
            for each in self._batch(requests[start : start + size])
        ]
        if self._index:
            self._index.add([row for each in made if (row := each.row)])
        return made

    def _batch(self, requests: Sequence[Request]) -> Iterator[Made]:
        """Make a batch; if that fails, each sample alone, so that one failure does not cost the others."""
        try:
            samples = self._make(requests)
        except ZooError as error:
            if len(requests) == 1:
                yield Made(
                    requests[0].index,
                    self._model.record(requests[0]),
                    problem=(error.message, error.remedy),
                )
                return
            for request in requests:
                yield from self._batch([request])
            return
        for sample in samples:
            yield self._finished(sample)

    def _make(self, requests: Sequence[Request]) -> list[Sample]:
        frames = self._job.keep_frames or frames_for(self._job.steps)
        return list(self._model.make(requests, batch_size=len(requests), keep_frames=frames))

    def _finished(self, sample: Sample) -> Made:
        if self._out is None:
            return Made(sample.index, sample.record, sample=sample)
        return Made(sample.index, sample.record, path=str(self._out.write(sample)))


def open_index(target: str, folder: Path) -> Index:
    """Return the index of a folder."""
    return cast("Index", pkgutil.resolve_name(target)(folder))
