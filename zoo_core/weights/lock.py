"""The lock file: the commit of each unpinned repository, and the verified size and hash of its files.

It is ``lock.json`` in the zoo's folder. A commit never changes, so what is written about one stays true. Only
the commit of a branch is ever replaced, and only when the user asks for an update.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from zoo_core import files
from zoo_core.errors import WeightsError
from zoo_core.weights.cache import COMMIT

_SCHEMA = 1


@dataclass(frozen=True)
class Claim:
    """The size and hash a file is said to have."""

    bytes: int | None = None
    hash: str | None = None
    """A sha256 (64 hexadecimal digits) or a git blob sha1 (40)."""


@dataclass(frozen=True)
class Listing:
    """The Hub's answer about one commit of a repository."""

    commit: str
    license: str | None
    files: Mapping[str, Claim]
    """Every file in it."""


def lock_file() -> Path:
    """Return the path of the lock file; it may not exist yet."""
    return files.data_dir() / "lock.json"


def read_pin(repo: str, revision: str) -> str | None:
    """Return the commit to which a branch or tag of ``repo`` is pinned; None if it was never pulled."""
    pin = _table(_read(), repo, "pins").get(revision)
    if pin is not None and not (isinstance(pin, str) and COMMIT.fullmatch(pin)):
        raise _malformed()
    return pin


def read_listing(repo: str, commit: str) -> Listing | None:
    """Return the Hub's answer about a commit; None if it was never asked."""
    entry = _table(_read(), repo, "commits", commit)
    if "listing" not in entry:
        return None
    return Listing(commit, entry.get("license"), _claims(_table(entry, "listing")))


def read_verified(repo: str, commit: str) -> dict[str, Claim]:
    """Return size and sha256 of a commit's files, as verified when they were first pulled."""
    return _claims(_table(_read(), repo, "commits", commit, "verified"))


def locked_repositories() -> set[str]:
    """Return the repositories from which the zoo has pulled."""
    return set(_read())


def record_pin(repo: str, revision: str, commit: str) -> None:
    """Pin ``revision`` of ``repo`` to ``commit``. Nothing is written if it is pinned to it already."""
    if read_pin(repo, revision) == commit:
        return
    with _changing() as repos:
        repos.setdefault(repo, {}).setdefault("pins", {})[revision] = commit


def record_listing(repo: str, listing: Listing) -> None:
    """Store the Hub's answer about a commit."""
    with _changing() as repos:
        entry = repos.setdefault(repo, {}).setdefault("commits", {}).setdefault(listing.commit, {})
        entry["license"] = listing.license
        entry["listing"] = {name: asdict(claim) for name, claim in listing.files.items()}


def record_verified(repo: str, commit: str, claims: Mapping[str, Claim]) -> None:
    """Store size and hash of verified files, so that a later change to one is noticed."""
    with _changing() as repos:
        entry = repos.setdefault(repo, {}).setdefault("commits", {}).setdefault(commit, {})
        entry.setdefault("verified", {}).update((name, asdict(claim)) for name, claim in claims.items())


@contextmanager
def _changing() -> Iterator[dict[str, Any]]:
    """Yield the repositories of the lock file and write them back if they change, under its lock."""
    with files.locked(lock_file()):
        repos = _read()
        before = copy.deepcopy(repos)
        yield repos
        if repos != before:
            files.write_state(lock_file(), {"schema": _SCHEMA, "repos": repos})


def _read() -> dict[str, Any]:
    document = files.read_json(lock_file(), {"schema": _SCHEMA, "repos": {}})
    if document.get("schema") != _SCHEMA:
        raise _malformed()
    return _table(document, "repos")


def _table(value: dict[str, Any], *keys: str) -> dict[str, Any]:
    """Return the table at ``keys``; an empty one if there is none."""
    for key in keys:
        value = value.get(key, {})
        if not isinstance(value, dict):
            raise _malformed()
    return value


def _claims(table: dict[str, Any]) -> dict[str, Claim]:
    try:
        return {name: Claim(entry["bytes"], entry["hash"]) for name, entry in table.items()}
    except (TypeError, KeyError):
        raise _malformed() from None


def _malformed() -> WeightsError:
    return WeightsError(
        f"{lock_file()} is not a lock file of this version of the zoo.",
        "Remove that file; the next pull of each unpinned model pins its commit again.",
    )
