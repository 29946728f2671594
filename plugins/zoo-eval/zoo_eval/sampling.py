"""Sample a model into an ordinary run folder; samples that are there already are not made again."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo_core import (
    Engine,
    Made,
    Plan,
    Request,
    RunFolder,
    SamplingJob,
    Shard,
    ZooError,
    begin_shard,
    portable_name,
    sample_on_engine,
    write_atomically,
)
from zoo_eval.data import Items, images_of, texts_of
from zoo_eval.features import Progress
from zoo_eval.sweep import SweepPoint

_SAVE_INTERVAL = 10
"""Seconds of sampling between two writes of the timing."""


@dataclass(frozen=True)
class SampleSet:
    """The samples of a model at one setting."""

    items: Items
    seconds: float | None
    """Mean time per sample over all sessions; None if it was not measured."""


def draw_samples(
    point: SweepPoint,
    plan: Plan,
    folder: Path,
    batch_size: int | None,
    progress: Progress,
    engine: Engine | None = None,
) -> SampleSet:
    """Make the samples of a plan in ``folder``, except those that are there, and open them."""
    model = point.model
    seconds = make_samples(point, plan, folder, batch_size, progress, engine=engine)
    suffix = ".png" if model.card.output == "image" else ".txt"
    files = [folder / f"seed{request.seed:04d}{suffix}" for request in plan]
    if gone := next((file for file in files if not file.is_file()), None):
        raise ZooError(f"{folder} holds other files but not {gone.name}.", "Give -o another folder.")
    name = point.name
    if suffix == ".txt":
        return SampleSet(texts_of(name, files), seconds)
    requested = [request.options.get("label") for request in plan]
    labels = tuple(label for label in requested if isinstance(label, int))
    known = labels if len(labels) == len(requested) else None
    return SampleSet(images_of(name, files, known), seconds)


def make_samples(
    point: SweepPoint,
    plan: Plan,
    folder: Path,
    batch_size: int | None,
    progress: Progress,
    shard: Shard | None = None,
    engine: Engine | None = None,
) -> float | None:
    """Make the samples of a plan, or of a shard of it, that are not in ``folder``.

    Returns:
        Mean seconds per sample over all sessions; None if they were not measured.
    """
    model = point.model
    out = RunFolder(folder, resume=True)
    any_record = model.record(next(iter(plan)))
    mine = begin_shard(shard, folder, plan, any_record, model.batch_size(batch_size))
    missing = [request for request in plan.part(mine) if not out.has(model.record(request))]
    timing = _Timing(folder.with_suffix(folder.suffix + ".json"))
    began, done = time.monotonic(), len(mine) - len(missing)
    if engine is None:
        making: Iterator[object] = (
            out.write(sample) for sample in model.make(missing, batch_size=batch_size)
        )
    else:
        making = _on_engine(engine, point, plan, folder, batch_size, missing)
    for _ in making:
        done += 1
        progress(done, len(mine))
        timing.add(time.monotonic() - began, final=done == len(mine))
        began = time.monotonic()
    return timing.per_sample


def _on_engine(
    engine: Engine,
    point: SweepPoint,
    plan: Plan,
    folder: Path,
    batch_size: int | None,
    missing: Sequence[Request],
) -> Iterator[Made]:
    """Have the workers of an engine make samples and write them."""
    model = point.model
    job = SamplingJob(
        model=portable_name(model.card.id, model.card),
        plan=plan,
        device=str(model.device),
        dtype=model.dtype,
        batch_size=batch_size,
        folder=str(folder.absolute()),
    )
    folder.mkdir(parents=True, exist_ok=True)
    positions = [request.index for request in missing]
    for made in sample_on_engine(engine, job, lambda _: positions, lambda line: print(line, file=sys.stderr)):
        if made.problem:
            raise ZooError(f"Seed {made.record.seed}: {made.problem[0]}", made.problem[1])
        yield made


class _Timing:
    """Sampling time, kept in a small file beside the run folder."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.seconds, self.samples = 0.0, 0
        try:
            stored = json.loads(path.read_text(encoding="utf-8"))
            self.seconds, self.samples = float(stored["seconds"]), int(stored["samples"])
        except (OSError, ValueError, KeyError, TypeError):
            pass  # a killed run may not have written it
        self._written = self.seconds

    @property
    def per_sample(self) -> float | None:
        return self.seconds / self.samples if self.samples else None

    def add(self, seconds: float, final: bool) -> None:
        """Add a sample; write now and then, so that a kill loses little."""
        self.seconds, self.samples = self.seconds + seconds, self.samples + 1
        if final or self.seconds - self._written >= _SAVE_INTERVAL:
            stored = {"seconds": self.seconds, "samples": self.samples}
            write_atomically(self._path, json.dumps(stored).encode(), overwrite=True)
            self._written = self.seconds
