"""Copy the files of an environment that an install changes, restore them if it fails, and compare.

Copies rather than a second install: the installed version may be gone from every index, or no index may be
reachable.
"""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from collections.abc import Iterable
from pathlib import Path

from zoo_core.installing.contents import normal_name, owned_files

State = dict[Path, tuple[int, int, int]]
"""Size, modification time in nanoseconds and mode of each file."""


class Snapshot:
    """The files of this environment before an install.

    Args:
        names: Distributions that will be installed or replaced.
        written: The files that the install will write.
        folder: An empty folder for copies.
    """

    def __init__(self, names: Iterable[str], written: Iterable[Path], folder: Path) -> None:
        self._before = _state()
        self._folders = {file.parent for file in self._before}
        self._written = frozenset(written)
        ours = (file for file, _ in owned_files(frozenset(map(normal_name, names))))
        self._copies: dict[Path, Path] = {}
        for file in {*ours, *self._written}:
            if os.path.lexists(file) and not file.is_dir():
                self._copies[file] = folder / str(len(self._copies))
                shutil.copy2(file, self._copies[file], follow_symlinks=False)

    def restore(self) -> list[Path]:
        """Remove what was added, restore what was there, and return the files that still differ."""
        added = {*(_state().keys() - self._before.keys()), *(self._written - self._copies.keys())}
        for file in added:
            file.unlink(missing_ok=True)
            _prune(file.parent, self._folders)
        for file, copy in self._copies.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            file.unlink(missing_ok=True)
            shutil.copy2(copy, file, follow_symlinks=False)
        after = _state()
        return sorted(
            file for file in after.keys() | self._before.keys() if after.get(file) != self._before.get(file)
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
