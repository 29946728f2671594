"""Hash files in threads: hashlib releases the interpreter lock while it works."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

_CHUNK = 1 << 20
_THREADS = 8

T = TypeVar("T")
R = TypeVar("R")


def sha256(path: Path) -> str:
    """Return the sha256 of a file."""
    return _hash_into(hashlib.sha256(), path)


def digest_of_path(path: Path) -> str | None:
    """Return the sha256 of a file, or of the list of a folder's files with theirs; None if there is neither.

    A file that has not changed since is not read again.
    """
    try:
        if path.is_dir():
            files = {each.relative_to(path).as_posix(): each for each in path.rglob("*") if each.is_file()}
            return combine({name: _sha256_once(*_version(file)) for name, file in files.items()})[7:]
        return _sha256_once(*_version(path)) if path.is_file() else None
    except OSError:
        return None


def _version(path: Path) -> tuple[Path, int, int]:
    stat = path.stat()
    return path, stat.st_mtime_ns, stat.st_size


@lru_cache(maxsize=64)
def _sha256_once(path: Path, mtime: int, size: int) -> str:
    return sha256(path)


def git_blob_sha1(path: Path) -> str:
    """Return the git blob hash of a file, which is the Hub's ETag of a file outside LFS."""
    return _hash_into(hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False), path)


def combine(sha256s: Mapping[str, str]) -> str:
    """Return one digest for a set of files: ``sha256:…``.

    It is the sha256 of the output of ``sha256sum`` over the files, sorted by name.
    """
    lines = "".join(f"{sha256s[name]}  {name}\n" for name in sorted(sha256s))
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def map_in_threads(function: Callable[[T], R], items: Iterable[T]) -> list[R]:
    """Apply a function to every item in threads; the results are in the items' order."""
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(_THREADS) as pool:
        return list(pool.map(function, items))


def _hash_into(hasher: hashlib._Hash, path: Path) -> str:
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(view[:count])
    return hasher.hexdigest()
