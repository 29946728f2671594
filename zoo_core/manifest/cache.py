"""Cache parsed files, so that many manifests need not be parsed and checked at every start.

One JSON file holds the values of several files, each with the times and size its file had. It is rebuilt if
it is missing, damaged or from another version of the core, and everything works without it.
"""

from __future__ import annotations

import gc
import json
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Generic, TypeVar

from zoo_core import files
from zoo_core.errors import ZooError
from zoo_core.manifest import compatibility, serialize

T = TypeVar("T")

_DAMAGED = (AttributeError, IndexError, KeyError, StopIteration, TypeError, ValueError)
"""Exceptions of :func:`serialize.from_plain` for a complete file of the wrong content."""

SETTLED_SECONDS = 2.0
"""A younger file is not cached: it could change again within one tick of the clock."""


class FileCache(Generic[T]):
    """Values of one dataclass, each by the file it was read from.

    Args:
        kind: The dataclass; see :mod:`zoo_core.manifest.serialize`.
        file: The cache file.
    """

    def __init__(self, kind: type[T], file: Path) -> None:
        self._kind = kind
        self._file = file
        self._old = _load(file, kind)
        self._read: dict[str, tuple[list[int], T]] = {}
        self._changed = False

    def read(self, path: Path, read: Callable[[], T]) -> T:
        """Return the cached value of the file at ``path``, or call ``read`` if the file has changed."""
        stamp = _stamp(path)
        value = self._recall(path, stamp)
        if value is None:
            value = read()
            if not stamp or stamp != _stamp(path) or max(stamp[:2]) > (time.time() - SETTLED_SECONDS) * 1e9:
                return value
            self._changed = True
        if stamp:
            self._read[str(path)] = stamp, value
        return value

    def _recall(self, path: Path, stamp: list[int] | None) -> T | None:
        try:
            of, value = self._old[str(path)]
            return serialize.from_plain(self._kind, value) if of == stamp else None
        except _DAMAGED:
            return None

    def save(self) -> None:
        """Write the values that were read; if that fails, the next start is slower and nothing else."""
        if not self._changed and len(self._read) == len(self._old):
            return
        entries = {}
        for path, (stamp, value) in self._read.items():
            with suppress(TypeError):  # a manifest may hold a date, which JSON lacks
                entries[path] = [stamp, serialize.to_plain(value)]
        data = json.dumps(
            [_fingerprint(self._kind), entries], ensure_ascii=False, separators=(",", ":")
        ).encode()
        with suppress(ZooError):
            files.write_state(self._file, b"%08x\n%b" % (zlib.crc32(data), data))


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause garbage collection: allocating thousands of cards would trigger it repeatedly."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _load(file: Path, kind: type) -> dict[str, Any]:
    try:
        checksum, _, data = file.read_bytes().partition(b"\n")
        if checksum != b"%08x" % zlib.crc32(data):
            return {}
        fingerprint, entries = json.loads(data)
    except (OSError, ValueError):
        return {}
    return entries if fingerprint == _fingerprint(kind) and isinstance(entries, dict) else {}


def _stamp(path: Path | str | None) -> list[int] | None:
    try:
        stat = os.stat(path or "")
    except OSError:
        return None
    return [stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size]


def _fingerprint(kind: type) -> list[Any]:
    """Return what the cached values depend on: the version of the core and the modules that read them."""
    files = [*sorted(Path(__file__).parent.glob("*.py")), sys.modules[kind.__module__].__file__]
    return [compatibility.VERSION, *map(_stamp, files)]
