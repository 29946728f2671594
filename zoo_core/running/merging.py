"""Put the shards of a run together: nothing may be missing or double, and every file stays as it is."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zoo_core.errors import OutputError, some
from zoo_core.files import atomic_file
from zoo_core.running.shards import ShardFile, shard_files
from zoo_core.samples.folder import RunFolder, records_in
from zoo_core.samples.lines import lines_of
from zoo_core.samples.record import Record

_NAME = re.compile(r"(.*?)\.?shard-\d+-of-\d+\.json")


@dataclass(frozen=True)
class Place:
    """Where a sample of a shard is: a file of a folder, or the bytes of a line in a .jsonl file."""

    target: Path
    """The folder or the .jsonl file."""
    name: str
    """The name of the file; empty for a line."""
    start: int = 0
    length: int = 0

    def line(self) -> bytes:
        """Return the line, with its newline."""
        with self.target.open("rb") as file:
            file.seek(self.start)
            return file.read(self.length).rstrip(b"\n") + b"\n"


@dataclass(frozen=True)
class Part:
    """A shard, and the folder or .jsonl file that its samples are in."""

    description: ShardFile
    target: Path
    inside: str
    """The path of the target inside the folder that was given, "" if it is that folder."""


@dataclass(frozen=True)
class Merged:
    """What a merge found and wrote."""

    target: Path
    """The whole run."""
    count: int
    """Number of its samples."""
    notes: tuple[str, ...]
    """What is odd about the shards and does not prevent the merge."""


def merge(sources: Sequence[Path], output: Path | None) -> list[Merged]:
    """Check that shards are complete, and write them as the one run would have.

    Args:
        sources: Folders and .jsonl files that ``--shard`` wrote; a folder may hold several shards, or folders
            of shards, as an evaluation does.
        output: Where the whole run goes. None only checks.

    Raises:
        OutputError: A shard or a sample is missing or double, or the shards are of different runs. Nothing
            was written.
    """
    groups: defaultdict[str, list[Part]] = defaultdict(list)
    for source in sources:
        for part in _parts(source):
            groups[part.inside].append(part)
    checked = [(inside, parts, _check(parts)) for inside, parts in sorted(groups.items())]
    return [
        _write(places, output / inside if inside and output else output, parts)
        for inside, parts, places in checked
    ]


def _parts(source: Path) -> Iterator[Part]:
    found = shard_files(source)
    if not found:
        raise OutputError(
            f"{source} is no shard." if source.exists() else f"There is no {source}.",
            "Give what was written by: zoo run … --shard I/N -o PATH",
        )
    for path in found:
        named = _NAME.fullmatch(path.name)
        target = path.with_name(named[1]) if named and named[1] else path.parent
        inside = "" if target == source else target.relative_to(source).as_posix()
        yield Part(ShardFile.read(path), target, inside)


def _check(parts: list[Part]) -> list[tuple[Record, Place]]:
    """Return every sample of the run, in order, with its place."""
    parts.sort(key=lambda part: part.description.indices.start)
    _check_shards(parts)
    found = _index({part.target for part in parts})
    samples: list[tuple[Record, Place]] = []
    missing: list[str] = []
    suspects: list[tuple[str, Place]] = []
    for part in parts:
        for record in part.description.records():
            places = found.get(record.identity, [])
            own = [place for place in places if place.target == part.target]
            if own:
                samples.append((record, own[0]))
            else:
                missing.append(f"seed {record.seed} of shard {part.description.shard} ({part.target})")
            suspects += [(record.identity, place) for place in places if place.target != part.target]
            if len(own) > 1 and own[0].name:
                raise _double(own[0], own[1], record)
    if missing:
        raise OutputError(
            f"{len(missing):,} of {len(missing) + len(samples):,} samples are not there: {some(missing)}.",
            "Finish those shards: the same command with --resume.",
        )
    _check_suspects(suspects, parts, found)
    return samples


def _check_shards(parts: Sequence[Part]) -> None:
    """Refuse shards of different runs, and a shard that is missing or double."""
    first = parts[0]
    total = len(first.description.plan)
    place = 0
    for part in parts:
        one, other = part.description, first.description
        same = replace(one.record, seed=0, prompt=None, options={}).identity
        if one.plan != other.plan or (
            same != replace(other.record, seed=0, prompt=None, options={}).identity
        ):
            raise OutputError(
                f"{part.target} and {first.target} are shards of different runs.",
                "Give the shards of one command: the same model, options and seeds.",
            )
        if one.shard.count != other.shard.count:
            raise OutputError(
                f"{part.target} is shard {one.shard} and {first.target} is shard {other.shard}.",
                "Give shards of one division.",
            )
        if len(one.indices) and one.indices.start < place:
            raise OutputError(
                f"{part.target}: shard {one.shard} is double.",
                "Give each shard once, made with one batch size.",
            )
        if one.indices.start > place:
            raise _missing_shard(place, parts)
        place = max(place, one.indices.stop)
    if place < total:
        raise _missing_shard(place, parts)


def _missing_shard(place: int, parts: Sequence[Part]) -> OutputError:
    count = parts[0].description.shard.count
    there = {part.description.shard.number for part in parts}
    names = [f"{number}/{count}" for number in range(1, count + 1) if number not in there]
    return OutputError(
        f"Samples from number {place + 1:,} on are in no shard; not given: {some(names) or 'none'}.",
        "Give all shards, made with one batch size.",
    )


def _index(targets: Iterable[Path]) -> dict[str, list[Place]]:
    """Return where each sample is, by the identity of its record."""
    found: defaultdict[str, list[Place]] = defaultdict(list)
    for target in sorted(targets):
        for record, place in _samples_in(target):
            found[record.identity].append(place)
    return found


def _samples_in(target: Path) -> Iterator[tuple[Record, Place]]:
    if target.suffix == ".jsonl":
        end = 0
        for length, record in lines_of(target):
            yield record, Place(target, "", end, length)
            end += length
    else:
        for path, record in records_in(target):
            yield record, Place(target, path.name)


def _check_suspects(
    suspects: Sequence[tuple[str, Place]], parts: Sequence[Part], found: dict[str, list[Place]]
) -> None:
    """Refuse a sample that is in the folder of another shard, unless the run makes it in both."""
    if not suspects:
        return
    expected = {(part.target, record.identity) for part in parts for record in part.description.records()}
    for identity, place in suspects:
        if (place.target, identity) not in expected:
            other = next(each for each in found[identity] if each != place)
            raise _double(other, place)


def _double(one: Place, other: Place, record: Record | None = None) -> OutputError:
    names = [str(place.target / place.name if place.name else place.target) for place in (one, other)]
    return OutputError(
        f"The same sample is in {names[0]} and in {names[1]}.", "Remove the one that does not belong there."
    )


def _write(samples: Sequence[tuple[Record, Place]], output: Path | None, parts: Sequence[Part]) -> Merged:
    notes = tuple(_odd_versions(parts))
    if output is None:
        return Merged(parts[0].target, len(samples), notes)
    if parts[0].target.suffix == ".jsonl":
        if output.suffix != ".jsonl":
            raise OutputError("Lines are merged into one .jsonl file.", "Give -o PATH.jsonl")
        try:
            with atomic_file(output) as part, part.open("wb") as file:
                for _, place in samples:
                    file.write(place.line())
        except FileExistsError:
            raise OutputError(f"{output} exists already.", "Give another path, or remove it.") from None
    else:
        folder = RunFolder(output)
        for _, place in samples:
            folder.adopt(place.target / place.name)
    return Merged(output, len(samples), notes)


def _odd_versions(parts: Sequence[Part]) -> Iterator[str]:
    first = parts[0].description
    for part in parts[1:]:
        one = part.description
        for name, value in one.record.versions.items():
            if (old := first.record.versions.get(name)) != value:
                yield f"Shard {one.shard} was made with {name} {value}, shard {first.shard} with {old}."
