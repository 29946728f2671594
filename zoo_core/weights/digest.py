"""Hashes of files, computed in threads: hashlib lets go of the interpreter lock while it works."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

_CHUNK = 1 << 20


def sha256_of_files(files: Mapping[str, Path]) -> dict[str, str]:
    """Return the sha256 of each file, by the same names."""
    # Largest first, so that no thread is left alone with the largest at the end.
    names = sorted(files, key=lambda name: files[name].stat().st_size, reverse=True)
    with ThreadPoolExecutor(max_workers=min(8, os.cpu_count() or 1)) as pool:
        return dict(zip(names, pool.map(lambda name: _sha256(files[name]), names), strict=True))


def git_blob_sha1(path: Path) -> str:
    """Return the name git gives a file's content, which is the Hub's ETag of a file outside LFS."""
    hasher = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    return _hash_into(hasher, path)


def combine(sha256s: Mapping[str, str]) -> str:
    """Return one digest for a set of files, ``sha256:...``.

    It is the sha256 of what ``sha256sum`` prints for the files in the order of their names.
    """
    lines = "".join(f"{sha256s[name]}  {name}\n" for name in sorted(sha256s))
    return "sha256:" + hashlib.sha256(lines.encode()).hexdigest()


def _sha256(path: Path) -> str:
    return _hash_into(hashlib.sha256(), path)


def _hash_into(hasher: hashlib._Hash, path: Path) -> str:
    buffer = bytearray(_CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as file:
        while count := file.readinto(buffer):
            hasher.update(view[:count])
    return hasher.hexdigest()
