"""One of several shards of a run: which samples it makes, and the file that says so beside them.

Samples are numbered and independent of each other, so any scheduler can make parts of a run at the same time.
``zoo merge`` compares the parts with their shard files.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from zoo_core.errors import OptionError, OutputError
from zoo_core.files import as_path, write_atomically
from zoo_core.running.planning import Plan, Request
from zoo_core.samples.record import Record

SCHEMA = 1
_REMEDY = "Make the shard again: zoo run … --shard I/N --resume"


@dataclass(frozen=True)
class Shard:
    """Shard ``number`` (from 1) of ``count``."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """Read ``2/8``.

        Raises:
            OptionError: It is not I/N with 1 ≤ I ≤ N.
        """
        number, slash, count = text.partition("/")
        if slash and number.isdecimal() and count.isdecimal() and 1 <= int(number) <= int(count):
            return cls(int(number), int(count))
        raise OptionError(f"{text!r} is not a shard.", "Give I/N with I from 1 to N: --shard 2/8")

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"

    def indices(self, total: int, batch_size: int) -> range:
        """Return the positions that this shard makes.

        Shards are consecutive. They begin at multiples of ``batch_size``, so that each batch is one of the
        undivided run, unless there are fewer batches than shards.
        """
        unit = batch_size if total >= batch_size * self.count else 1
        units = -(-total // unit)
        first, last = ((each * units // self.count) * unit for each in (self.number - 1, self.number))
        return range(min(first, total), min(last, total))


@dataclass(frozen=True)
class ShardFile:
    """What a shard is part of: enough to know the record of each of its samples before it is made."""

    shard: Shard
    indices: range
    plan: Plan
    record: Record
    """The record of any sample of the run; the seed, prompt and options are those of the plan."""

    def records(self) -> Iterator[Record]:
        """Yield the record of each sample of the shard, in order, without metadata."""
        for request in self.plan.part(self.indices):
            yield record_of(self.record, request)

    def write(self, target: str | Path) -> None:
        """Write the file into the folder that is the shard's output, or beside its .jsonl."""
        write_atomically(shard_path(as_path(target), self.shard), self.to_bytes(), overwrite=True)

    def to_bytes(self) -> bytes:
        """Return the file's content."""
        document = {
            "schema": SCHEMA,
            "shard": [self.shard.number, self.shard.count],
            "indices": [self.indices.start, self.indices.stop],
            "plan": self.plan.to_json(),
            "record": self.record.to_json(),
        }
        return (json.dumps(document) + "\n").encode()

    @classmethod
    def read(cls, path: Path) -> ShardFile:
        """Read a shard file.

        Raises:
            OutputError: It cannot be read, or is none.
        """
        try:
            document: Any = json.loads(path.read_bytes())
            if document["schema"] != SCHEMA:
                raise ValueError(f"schema {document['schema']}")
            shard, indices = Shard(*map(int, document["shard"])), range(*map(int, document["indices"]))
            plan = Plan.from_json(document["plan"])
            if not 1 <= shard.number <= shard.count or indices.stop > len(plan):
                raise ValueError("the numbers do not fit")
            return cls(shard, indices, plan, Record.from_json(document["record"]))
        except (OSError, ValueError, KeyError, TypeError, RecursionError, OutputError) as error:
            raise OutputError(f"{path} cannot be read as the description of a shard.", _REMEDY) from error


def begin_shard(
    shard: Shard | None, target: str | Path, plan: Plan, record: Record, batch_size: int
) -> range:
    """Return the positions of the plan to make; of a shard, write the file that says so.

    Args:
        shard: None for a whole run.
        target: The shard's folder or .jsonl file.
        plan: The whole run.
        record: The record of any of its samples.
        batch_size: Samples per batch.
    """
    if shard is None:
        return range(len(plan))
    indices = shard.indices(len(plan), batch_size)
    ShardFile(shard, indices, plan, record).write(target)
    return indices


def record_of(any_record: Record, request: Request) -> Record:
    """Return the record that a sample of the same run will have, without metadata."""
    options = {name: value for name, value in request.options.items() if name in any_record.options}
    return replace(any_record, seed=request.seed, prompt=request.prompt, options=options, metadata={})


def shard_path(target: Path, shard: Shard) -> Path:
    """Return the path of a shard file: ``DIR/shard-2-of-8.json`` or ``x.jsonl.shard-2-of-8.json``."""
    name = f"shard-{shard.number}-of-{shard.count}.json"
    return target.with_name(f"{target.name}.{name}") if target.suffix == ".jsonl" else target / name


def shard_files(target: Path) -> list[Path]:
    """Return the shard files of a folder, of the folders in it, or of a .jsonl file."""
    if target.suffix == ".jsonl":
        return sorted(target.parent.glob(f"{target.name}.shard-*-of-*.json"))
    return sorted(target.rglob("*shard-*-of-*.json"))
