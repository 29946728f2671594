"""Write a run to a folder, one file per sample; a killed run can be resumed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.files import check_folder, exists, explained, is_address, sweep, write_atomically
from zoo_core.samples.base import Output
from zoo_core.samples.kinds import FOLDER_SUFFIXES, KINDS
from zoo_core.samples.provenance import read_records
from zoo_core.samples.single import (
    companions,
    frames_for,
    has_steps,
    recorded_at,
    steps_path,
    write_sample,
    write_steps,
)

if TYPE_CHECKING:
    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample

_LONGEST_HINT = 40
_REQUESTS = 16
"""Files of an address that are read at the same time."""


class RunFolder(Output):
    """Writes each sample when it is done: ``seed0007.png``, or ``.txt`` for a text, ``.wav`` for audio, ….

    A file is replaced only by the same sample (an equal record). If another sample has the name, the new
    name says the difference: ``seed0007-label3.png``. Memory does not grow with the number of samples; a
    resumed run keeps a hash of each sample it found.

    Args:
        path: The folder; it is made with the first sample.
        resume: Skip the samples that exist, and remove partial files of a killed run.
        overwrite: Replace the same sample made by other versions or on another device.
        steps: ``gif``, ``apng`` or ``x0``: also write an animation of each image's steps.
        known: Names of files with their records, as an index has them: these files are not read.
    """

    path: Path

    def __init__(
        self,
        path: Path,
        *,
        resume: bool = False,
        overwrite: bool = False,
        steps: str | None = None,
        known: Iterable[tuple[str, Record]] = (),
    ) -> None:
        check_folder(path)
        self.path = path
        self._overwrite = overwrite
        self._steps = steps
        self.wants_frames = frames_for(steps)
        self._there: dict[str, str] = {}
        if resume and path.exists():
            with explained(path):
                sweep(path)
                indexed = {} if steps else {name: record.identity for name, record in known}
                self._there = {identity: name for name, identity in self._identities(indexed)}

    def has(self, record: Record) -> bool:
        """Return True if the resumed folder holds the complete sample of ``record`` (metadata aside)."""
        return record.identity in self._there

    def name_of(self, record: Record) -> str:
        """Return the name of the file of a sample that the resumed folder has."""
        return self._there[record.identity]

    def write(self, sample: Sample) -> Path:
        """Write a sample under a name that no other sample has, and return its path."""
        kind = KINDS[sample.kind]
        suffix = kind.suffixes[0]
        for stem in self._stems(sample.record, suffix):
            path = self.path / (stem + suffix)
            films = has_steps(sample.kind, self._steps)
            steps = steps_path(path, self._steps) if self._steps and films else None
            if steps and exists(steps) and self._is_other_sample(steps, sample.record):
                continue
            if self._put(sample, path):
                if steps:
                    write_steps(sample, steps)
                return path
        raise AssertionError("the names never end")

    def adopt(self, file: Path) -> Path:
        """Copy the file of a sample, and what belongs to it, under the name that the sample has here."""
        record = next(read_records(file))
        for stem in self._stems(record, file.suffix):
            path = self.path / (stem + file.suffix)
            if exists(path):
                if not self._is_other_sample(path, record):
                    return path
                continue
            # The record beside a text is written first, as by _write_pair; the text then completes it.
            for old, new in reversed(list(zip(companions(file), companions(path), strict=True))):
                if old.exists():
                    write_atomically(new, old.read_bytes(), overwrite=True)
            return path
        raise AssertionError("the names never end")

    def _put(self, sample: Sample, path: Path) -> bool:
        """Write a sample to ``path``; return False if another sample has that name."""
        if not exists(path):
            with suppress(FileExistsError):  # another process just took the name, perhaps for the same sample
                write_sample(sample, path)
                return True
        if self._is_other_sample(path, sample.record):
            return False
        write_sample(sample, path, overwrite=True)
        return True

    def _stems(self, record: Record, suffix: str) -> Iterator[str]:
        """Yield names to try: the seed, the seed with the difference from the sample there, then numbers."""
        stem = f"seed{record.seed:04d}"
        yield stem
        occupant = recorded_at(self.path / (stem + suffix))
        hint = difference(record, occupant) if occupant else ""
        if hint:
            stem = f"{stem}-{hint}"
            yield stem
        number = 2
        while True:
            yield f"{stem}-{number}"
            number += 1

    def _is_other_sample(self, path: Path, record: Record) -> bool:
        """Return True if the sample of ``record`` must not replace the file of this name.

        An unreadable file is never replaced: another process may be writing it.
        """
        occupant = recorded_at(path)
        if occupant is None:
            return True
        return occupant != record and not (self._overwrite and occupant.identity == record.identity)

    def _identities(self, indexed: Mapping[str, str]) -> Iterator[tuple[str, str]]:
        """Yield the name and identity of each complete sample, with its animation if they are written."""
        unread = []
        for path in self.path.iterdir():
            if path.name in indexed:
                yield path.name, indexed[path.name]
            else:
                unread.append(path)
        for path, record in _records(unread):
            films = has_steps(record.output, self._steps)
            if self._steps and films and recorded_at(steps_path(path, self._steps)) != record:
                continue
            yield path.name, record.identity


def records_in(folder: Path) -> Iterator[tuple[Path, Record]]:
    """Yield each complete sample of a folder: its file, and its record."""
    yield from _records(list(folder.iterdir()))


def _records(paths: Sequence[Path]) -> Iterator[tuple[Path, Record]]:
    samples = [path for path in paths if path.suffix in FOLDER_SUFFIXES]
    if samples and is_address(samples[0]):  # each file is a request
        with ThreadPoolExecutor(_REQUESTS) as threads:
            found = list(threads.map(recorded_at, samples))
    else:
        found = map(recorded_at, samples)  # type: ignore[assignment]
    for path, record in zip(samples, found, strict=True):
        if record is not None:
            yield path, record


def difference(record: Record, other: Record) -> str:
    """Return the difference from a sample of the same seed, for a file name: ``label3``, ``a-red-fox``."""
    parts = []
    if record.model != other.model:
        parts.append(record.model)
    elif record.checkpoint["digest"] != other.checkpoint["digest"]:
        parts.append(record.checkpoint["digest"].rpartition(":")[2][:8])
    if record.prompt != other.prompt:
        parts.append(record.prompt_text or "no prompt")
    for name, value in record.options.items():
        if name not in other.options or other.options[name] != value:
            parts.append(f"{name}{value}")
    parts += [
        value for value, old in ((record.dtype, other.dtype), (record.device, other.device)) if value != old
    ]
    parts += [
        f"{name}-{value}" for name, value in record.versions.items() if other.versions.get(name) != value
    ]
    slug = re.sub(r"[^\w.]+", "-", "-".join(parts)).strip("-.")
    return slug[:_LONGEST_HINT].rstrip("-.")
