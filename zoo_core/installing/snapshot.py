"""Copy the files of an environment that an install changes, restore them if it fails, and compare.

Copies rather than a second install: the installed version may be gone from every index, or no index may be
reachable.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from zoo_core.files import read_json, write_state
from zoo_core.installing.contents import normal_name, owned_files

State = dict[Path, tuple[int, int, int]]
"""Size, modification time in nanoseconds and mode of each file."""
_FILE = "snapshot.json"


@dataclass(frozen=True)
class Snapshot:
    """The files of this environment before an install."""

    before: State
    written: frozenset[Path]
    """The files that the install will write."""
    copies: Mapping[Path, Path]
    """A copy of each file that it may change."""

    @classmethod
    def take(cls, names: Iterable[str], written: Iterable[Path], folder: Path) -> Snapshot:
        """Copy what an install of the distributions ``names`` may change, and describe it in ``folder``.

        Args:
            names: Distributions that will be installed or replaced.
            written: The files that the install will write.
            folder: An empty folder. :meth:`read` reads it, also in another process.
        """
        before, written = _state(), frozenset(written)
        ours = (file for file, _ in owned_files(frozenset(map(normal_name, names))))
        copies: dict[Path, Path] = {}
        for file in {*ours, *written}:
            if os.path.lexists(file) and not file.is_dir():
                copies[file] = folder / str(len(copies))
                shutil.copy2(file, copies[file], follow_symlinks=False)
        described = {
            "before": {str(file): stat for file, stat in before.items()},
            "written": list(map(str, written)),
            "copies": {str(file): str(copy) for file, copy in copies.items()},
        }
        write_state(folder / _FILE, described)  # last: what is described is complete
        return cls(before, written, copies)

    @classmethod
    def read(cls, folder: Path) -> Snapshot | None:
        """Return the snapshot in a folder; None if there is no complete one."""
        described = read_json(folder / _FILE, None)
        if described is None:
            return None
        return cls(
            {Path(file): tuple(stat) for file, stat in described["before"].items()},
            frozenset(map(Path, described["written"])),
            {Path(file): Path(copy) for file, copy in described["copies"].items()},
        )

    def restore(self) -> list[Path]:
        """Remove what was added, restore what was there, and return the files that still differ."""
        folders = {file.parent for file in self.before}
        added = {*(_state().keys() - self.before.keys()), *(self.written - self.copies.keys())}
        for file in added:
            file.unlink(missing_ok=True)
            _prune(file.parent, folders)
        for file, copy in self.copies.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            shutil.copy2(copy, file, follow_symlinks=False)
        after = _state()
        return sorted(
            file for file in after.keys() | self.before.keys() if after.get(file) != self.before.get(file)
        )


def _state() -> State:
    """Return the state of every file in the folders that installers write to, bytecode aside."""
    prefix = Path(sys.prefix)
    kinds = ("purelib", "platlib", "scripts")
    roots = {Path(os.path.normpath(sysconfig.get_path(kind))) for kind in kinds}
    roots |= {prefix / name for name in ("etc", "include", "share")}
    found: State = {}
    for root in roots:
        for folder, names, files in os.walk(root):
            names[:] = [name for name in names if name != "__pycache__"]
            found.update(_stat(Path(folder, file)) for file in files)
    found.update(_stat(path) for path in prefix.iterdir() if path.is_file())
    return found


def _stat(file: Path) -> tuple[Path, tuple[int, int, int]]:
    stat = file.lstat()
    return file, (stat.st_size, stat.st_mtime_ns, stat.st_mode)


def _prune(folder: Path, kept: set[Path]) -> None:
    """Remove a folder, and its parents, if they are empty and were not there before."""
    while folder not in kept and folder.is_dir():
        shutil.rmtree(folder / "__pycache__", ignore_errors=True)
        if any(folder.iterdir()) or any(folder in each.parents for each in kept):
            return
        folder.rmdir()
        folder = folder.parent
