"""Compare files with the sizes and hashes they are said to have."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo_core.weights.digest import git_blob_sha1, map_in_threads, sha256
from zoo_core.weights.lock import Claim


@dataclass(frozen=True)
class Finding:
    """Size, hash and fault of a file that was checked."""

    name: str
    bytes: int = 0
    sha256: str = ""
    fault: str | None = None
    """What is wrong, as a phrase that follows the file's name; None if nothing is."""
    exists: bool = True


def verify(files: Mapping[str, Path], claims: Mapping[str, Sequence[Claim]]) -> list[Finding]:
    """Compare every file with all claims about it; the findings are in the files' order."""
    return map_in_threads(lambda name: _look(name, files[name], claims[name]), files)


def _look(name: str, path: Path, claims: Sequence[Claim]) -> Finding:
    if not os.path.isfile(path):
        return Finding(name, fault="is missing", exists=False)
    try:
        return _compare(name, path, claims)
    except OSError as error:
        return Finding(name, fault=f"cannot be read ({error.strerror})")


def _compare(name: str, path: Path, claims: Sequence[Claim]) -> Finding:
    size = path.stat().st_size
    for claim in claims:
        if claim.bytes is not None and claim.bytes != size:
            return Finding(name, size, fault=f"has {size} bytes instead of {claim.bytes}")
    found = {64: sha256(path)}
    if any(claim.hash and len(claim.hash) == 40 for claim in claims):
        found[40] = git_blob_sha1(path)
    hashes = [claim.hash for claim in claims if claim.hash]
    if not hashes:
        return Finding(name, size, found[64], "has no hash to be verified against")
    for expected in hashes:
        if found.get(len(expected)) != expected:
            return Finding(name, size, found[64], f"has a hash other than {expected[:12]}…")
    return Finding(name, size, found[64])
