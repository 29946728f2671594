"""Write a run to a folder, one file per sample; a killed run can be resumed."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.files import check_folder, explained, sweep, write_atomically
from zoo_core.samples.base import Output
from zoo_core.samples.provenance import read_records
from zoo_core.samples.single import companions, recorded_at, steps_path, write_sample, write_steps

if TYPE_CHECKING:
    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample

_LONGEST_HINT = 40


class RunFolder(Output):
    """Writes each sample when it is done: ``seed0007.png``, or ``.txt`` for a text.

    A file is replaced only by the same sample (an equal record). If another sample has the name, the new
    name says the difference: ``seed0007-label3.png``. Memory does not grow with the number of samples; a
    resumed run keeps a hash of each sample it found.

    Args:
        path: The folder; it is made with the first sample.
        resume: Skip the samples that exist, and remove partial files of a killed run.
        overwrite: Replace the same sample made by other versions or on another device.
        steps: ``.gif`` or ``.apng``: also write an animation of each image's steps.
    """

    path: Path

    def __init__(
        self, path: Path, *, resume: bool = False, overwrite: bool = False, steps: str | None = None
    ) -> None:
        check_folder(path)
        self.path = path
        self._overwrite = overwrite
        self._steps = steps
        self.wants_frames = steps is not None
        self._there: set[str] = set()
        if resume and path.exists():
            with explained(path):
                sweep(path)
                self._there.update(self._identities())

    def has(self, record: Record) -> bool:
        """Return True if the resumed folder holds the complete sample of ``record`` (metadata aside)."""
        return record.identity in self._there

    def write(self, sample: Sample) -> Path:
        """Write a sample under a name that no other sample has, and return its path."""
        suffix = ".txt" if sample.tensor is None else ".png"
        for stem in self._stems(sample.record, suffix):
            path = self.path / (stem + suffix)
            steps = steps_path(path, self._steps) if self._steps and sample.tensor is not None else None
            if steps and os.path.lexists(steps) and self._is_other_sample(steps, sample.record):
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
            if os.path.lexists(path):
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
        if not os.path.lexists(path):
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

    def _identities(self) -> Iterator[str]:
        """Yield the identity of each complete sample, with its animation if animations are written."""
        for path, record in records_in(self.path):
            if self._steps and path.suffix == ".png" and recorded_at(steps_path(path, self._steps)) != record:
                continue
            yield record.identity


def records_in(folder: Path) -> Iterator[tuple[Path, Record]]:
    """Yield each complete sample of a folder: its file, and its record."""
    for path in folder.iterdir():
        if path.suffix in (".png", ".txt") and (record := recorded_at(path)) is not None:
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
