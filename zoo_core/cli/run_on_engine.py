"""``zoo run --engine``: the driver of workers that make the samples, and write them where they can."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.cli.console import say, write
from zoo_core.cli.reporting import Tell, sample_counter
from zoo_core.engines.protocol import Row
from zoo_core.engines.sampler import Description, Made, SamplingJob, open_index
from zoo_core.engines.sampling import portable_adapter, portable_name, sample_on_engine
from zoo_core.errors import ZooError
from zoo_core.files import sweep, write_atomically
from zoo_core.running.shards import begin_shard, record_of
from zoo_core.samples.folder import RunFolder
from zoo_core.samples.record import Record
from zoo_core.samples.single import recorded_at

if TYPE_CHECKING:
    from zoo_core.cli.run import RunRequest
    from zoo_core.engines.protocol import Engine
    from zoo_core.running.planning import Plan
    from zoo_core.samples.base import Output


def run_on_engine(engine: Engine, request: RunRequest, plan: Plan, out: Output, tell: Tell) -> None:
    """Make the samples of a run on an engine.

    Workers write the samples of a folder; the driver writes everything else, also a folder in which seeds
    repeat, because their names depend on the order.

    Raises:
        ZooError: No worker can be used, one cannot write, or some samples cannot be made; the others are
            kept.
    """
    texts_too = request.as_json and request.card.output == "text"
    writes = isinstance(out, RunFolder) and not texts_too and not _repeat(plan.seeds)
    todo = len(plan)
    failed: list[Made] = []

    index = _open_index(engine, out.path) if writes and out.path else None

    def exists(position: int, record: Record) -> bool:
        """Return True for a sample that is there; see that it is in the index."""
        if not out.has(record):
            return False
        if index is not None and isinstance(out, RunFolder):
            index.see(position, out.path / out.name_of(record))
        return True

    def choose(description: Description) -> list[int] | range:
        nonlocal todo
        record = description.record
        if not request.quiet:
            say(f"{record.model} in {record.dtype} on {record.device}")
        mine = begin_shard(request.shard, request.target, plan, record, description.batch_size)
        due = (
            [each.index for each in plan.part(mine) if not exists(each.index, record_of(record, each))]
            if request.resume
            else mine
        )
        if index is not None:
            index.flush()
        todo = len(due)
        if todo < len(mine):
            say(f"Skipping {len(mine) - todo} of {len(mine)} samples, which exist already.")
        return due

    shows_bar = not request.quiet and sys.stderr.isatty()
    counter = sample_counter(lambda: todo) if shows_bar else nullcontext((lambda: None, _warn))
    with _marked(out.path if writes else None, request.resume) as mark, counter as (count, warn):
        job = SamplingJob(
            model=portable_name(request.name, request.card),
            plan=plan,
            device=request.device,
            dtype=request.dtype,
            adapter=request.adapter and portable_adapter(request.adapter),
            batch_size=request.batch_size,
            folder=str(out.path.absolute()) if writes and out.path else None,
            index=index.target if index else None,
            overwrite=request.force,
            steps=request.save_steps,
            keep_frames=out.wants_frames,
            mark=mark,
        )
        with closing(sample_on_engine(engine, job, choose, warn)) as samples:
            for made in samples:
                count()
                if made.problem:
                    failed.append(made)
                    continue
                path = out.write(made.sample) if made.sample else _shown(made, out.path)
                text = made.sample.text if made.sample else None
                tell(made.record, text, path, path == out.path or (shows_bar and sys.stdout.isatty()))
    if index is not None:
        index.finish()
    if failed:
        message, remedy = failed[0].problem or ("", "")
        raise ZooError(
            f"{len(failed):,} of {todo:,} samples could not be made; seed {failed[0].record.seed}: {message}",
            f"The others are kept. {remedy}",
        )


def indexed(engine: Engine, folder: Path) -> list[tuple[str, Record]]:
    """Return the names and records that the engine's index of a folder has."""
    index = _open_index(engine, folder)
    return [] if index is None else index.known()


class _Index:
    """The index of a folder that is resumed: samples that it lacks are added."""

    def __init__(self, target: str, folder: Path) -> None:
        self.target = target
        self._index = open_index(target, folder)
        self.finish = self._index.finish
        self._names: set[str] | None = None
        self._rows: list[Row] = []

    def known(self) -> list[tuple[str, Record]]:
        """Return the name and record of each row."""
        return [(row.name, Record.from_json(row.record)) for row in self._index.rows()]

    def see(self, position: int, path: Path) -> None:
        """Add a sample that was found, if the index lacks it."""
        if self._names is None:
            self._names = {row.name for row in self._index.rows()}
        if path.name not in self._names and (record := recorded_at(path)):
            self._rows.append(Row(position, path.name, record.to_json()))

    def flush(self) -> None:
        """Write what was added."""
        self._index.add(self._rows)


def _open_index(engine: Engine, folder: Path) -> _Index | None:
    target: str | None = getattr(engine, "index", None)
    return _Index(target, folder) if target else None


def _repeat(seeds: Sequence[int]) -> bool:
    return not isinstance(seeds, range) and len(set(seeds)) < len(seeds)


def _warn(line: str) -> None:
    write(line, err=True)


def _shown(made: Made, folder: Path | None) -> Path:
    """Return the path of a written sample as the user named the folder."""
    assert made.path is not None
    assert folder is not None
    return folder / made.path.rpartition("/")[2]


@contextmanager
def _marked(folder: Path | None, resume: bool) -> Iterator[str | None]:
    """Leave a file in the folder while it is written, by which workers know that they share it."""
    if folder is None:
        yield None
        return
    if resume and folder.exists():
        for left in folder.glob(".zoo-*.mark"):  # of a driver that was killed
            left.unlink(missing_ok=True)
    mark = folder / f".zoo-{secrets.token_hex(8)}.mark"
    write_atomically(mark, b"")
    try:
        yield mark.name
    finally:
        mark.unlink(missing_ok=True)
        sweep(folder)  # of workers that were killed
