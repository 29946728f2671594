"""What the loopback Hub holds, and how it is to misbehave."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import cached_property
from typing import Literal

TOKEN = "hf_loopback"
"""The one token this Hub knows. Whoever sends it may read private repositories."""

Kind = Literal["truncate", "corrupt", "drop", "slow"] | int
"""How to misbehave: with the content of a file, or by answering with a status."""


@dataclass(frozen=True)
class File:
    """A file of a repository, named as the Hub names it."""

    content: bytes
    lfs: bool

    @cached_property
    def sha256(self) -> str:
        """Its name in LFS."""
        return hashlib.sha256(self.content).hexdigest()

    @cached_property
    def git_sha1(self) -> str:
        """Its name in git. (The real Hub names the pointer of an LFS file so.)"""
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
        """The commit a revision stands for; None if it has none such."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)


@dataclass
class Fault:
    """One way to misbehave, and when."""

    kind: Kind
    pattern: str
    times: int | None
    seconds: float

    def strikes(self, path: str) -> bool:
        """True if this request is to suffer from it, which uses up one of its times."""
        if self.times == 0 or not fnmatchcase(path, self.pattern):
            return False
        if self.times is not None:
            self.times -= 1
        return True


@dataclass(frozen=True)
class Request:
    """A request that came in."""

    method: str
    path: str
    """Without the query."""
    range: str | None
    token: str | None
    status: int
