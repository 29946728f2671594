"""A folder with a file for each sample, which a killed run leaves whole and a resumed run completes."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.files import check_folder, explained, sweep
from zoo_core.samples.base import Output
from zoo_core.samples.single import recorded_at, steps_path, write_sample, write_steps

if TYPE_CHECKING:
    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample

_LONGEST_HINT = 40


class RunFolder(Output):
    """Writes each sample when it is done: ``seed0007.png``, or ``.txt`` for a text.

    A file is replaced only by the sample it holds (an equal record). Where another sample has the name, the
    new one's tells the difference: ``seed0007-label3.png``. Nothing here grows with the number of samples
    written; a resumed run keeps a hash of each sample it found.

    Args:
        path: The folder; made with its first sample if it is missing.
        resume: Find out which samples are there already, and clear away what a killed run left.
        overwrite: Let a sample replace the same one as other versions or another device made it.
        steps: ``.gif`` or ``.apng``: write an animation of its steps beside each image.
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
        """True if the resumed folder holds, whole, the sample of ``record`` (metadata aside)."""
        return record.identity in self._there

    def write(self, sample: Sample) -> Path:
        """Write a sample under a name that hides no other, and return its path."""
        suffix = ".txt" if sample.tensor is None else ".png"
        for stem in self._stems(sample.record, suffix):
            path = self.path / (stem + suffix)
            steps = steps_path(path, self._steps) if self._steps and sample.tensor is not None else None
            if steps and os.path.lexists(steps) and self._is_anothers(steps, sample.record):
                continue
            if self._put(sample, path):
                if steps:
                    write_steps(sample, steps)
                return path
        raise AssertionError("the names never end")

    def _put(self, sample: Sample, path: Path) -> bool:
        """Write a sample at ``path``; False if that name is another's."""
        if not os.path.lexists(path):
            with suppress(FileExistsError):  # another process took it just now, perhaps for this very sample
                write_sample(sample, path)
                return True
        if self._is_anothers(path, sample.record):
            return False
        write_sample(sample, path, overwrite=True)
        return True

    def _stems(self, record: Record, suffix: str) -> Iterator[str]:
        """Names to try: the seed's; then with what sets the sample apart from the one that has that name."""
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

    def _is_anothers(self, path: Path, record: Record) -> bool:
        """True if what has this name is not to be replaced by the sample that ``record`` describes.

        Something unreadable is another's: it may be a sample that another process is just writing.
        """
        occupant = recorded_at(path)
        if occupant is None:
            return True
        return occupant != record and not (self._overwrite and occupant.identity == record.identity)

    def _identities(self) -> Iterator[str]:
        """What is there: whole files with one record each, and with their animations if those are wanted."""
        for path in self.path.iterdir():
            if path.suffix not in (".png", ".txt"):
                continue
            record = recorded_at(path)
            if record is None:
                continue
            if self._steps and path.suffix == ".png" and recorded_at(steps_path(path, self._steps)) != record:
                continue
            yield record.identity


def difference(record: Record, other: Record) -> str:
    """What a file name needs to tell a sample from another of the same seed: ``label3``, ``a-red-fox``."""
    parts = []
    if record.model != other.model:
        parts.append(record.model)
    elif record.checkpoint["digest"] != other.checkpoint["digest"]:
        parts.append(record.checkpoint["digest"].rpartition(":")[2][:8])
    if record.prompt != other.prompt:
        parts.append(record.prompt or "no prompt")
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
