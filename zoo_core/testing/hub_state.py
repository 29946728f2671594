"""The content of the loopback Hub, and its simulated faults."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal

TOKEN = "hf_loopback"
"""The only token that this Hub accepts; it gives access to private repositories."""

Kind = Literal["truncate", "corrupt", "drop", "slow"] | int
"""A fault in the content of a file, or an HTTP status."""


@dataclass(frozen=True)
class File:
    """A file of a repository, with the Hub's names for it."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        """Its name in LFS."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def git_sha1(self) -> str:
        """Its name in git. (For an LFS file, the real Hub uses the hash of the pointer.)"""
        return hashlib.sha1(b"blob %d\0" % len(self.content) + self.content).hexdigest()


@dataclass
class Repository:
    """A model repository: commits by name, and the branches and tags that point to them."""

    commits: dict[str, dict[str, File]] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)
    license: str | None = None
    private: bool = False
    gated: bool = False
    granted: bool = False
    """True if the account behind :data:`TOKEN` was granted access to this gated repository."""

    def resolve(self, revision: str) -> str | None:
        """Return the commit of a revision; None if there is none."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)


@dataclass
class Fault:
    """A simulated fault, and the requests it affects."""

    kind: Kind
    pattern: str
    times: int | None
    seconds: float

    def strikes(self, path: str) -> bool:
        """Return True if the fault affects this request; this counts towards ``times``."""
        if self.times == 0 or not fnmatchcase(path, self.pattern):
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True)
class Request:
    """A received request."""

    method: str
    path: str
    """Without the query."""
    range: str | None
    token: str | None
    status: int
