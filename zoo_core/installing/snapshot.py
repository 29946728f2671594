"""Copy the files of an environment that an install changes, to restore them if it fails.

Copies rather than a second install: the installed version may be gone from every index, or no index may be
reachable.
"""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import sysconfig
from collections.abc import Iterable, Iterator
from pathlib import Path

ROOTS = ("purelib", "platlib", "scripts")
"""The folders that installers write to; a distribution has its own files or folders there."""


class Snapshot:
    """The files of some distributions in this environment, and the list of everything else.

    Args:
        names: Distributions that will be installed or changed.
        folder: An empty folder for copies.
    """

    def __init__(self, names: Iterable[str], folder: Path) -> None:
        self._names = {_normal(name) for name in names}
        self._roots = {Path(os.path.normpath(sysconfig.get_path(kind))) for kind in ROOTS}
        self._entries = set(self._list())
        self._copies: dict[Path, Path] = {}
        for file in self._files(ours=True):
            if file.is_file():
                self._copies[file] = folder / str(len(self._copies))
                shutil.copy2(file, self._copies[file], follow_symlinks=False)
        touched = {entry for file in self._copies for entry in self._entry(file)}
        self._contents = {entry: set(entry.rglob("*")) for entry in touched}

    def restore(self) -> None:
        """Remove what was added, and restore what was there."""
        kept = {entry for file in self._files(ours=False) for entry in self._entry(file)}
        for entry in set(self._list()) - self._entries - kept:
            _delete(entry)
        for entry, before in self._contents.items():
            for path in sorted(set(entry.rglob("*")) - before, reverse=True):
                _delete(path)
        for file, copy in self._copies.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(copy, file, follow_symlinks=False)

    def _list(self) -> Iterator[Path]:
        for root in self._roots:
            yield from root.iterdir() if root.is_dir() else ()

    def _files(self, *, ours: bool) -> Iterator[Path]:
        """Yield every file of the named distributions, or of all others."""
        for distribution in importlib.metadata.distributions(path=[str(root) for root in self._roots]):
            if (_normal(distribution.name) in self._names) == ours:
                for file in distribution.files or ():
                    yield Path(os.path.normpath(str(distribution.locate_file(file))))

    def _entry(self, file: Path) -> list[Path]:
        """Return the entry of a root that holds a file; empty for a file elsewhere."""
        return [root / file.relative_to(root).parts[0] for root in self._roots if root in file.parents][:1]


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _delete(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
