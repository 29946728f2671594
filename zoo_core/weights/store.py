"""The files of a checkpoint: verified if they are here, fetched if not, fetched again if they are damaged."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from zoo_core.errors import WeightsError
from zoo_core.manifest.cards import (
    EmbeddedWeights,
    ExtractorCard,
    HubWeights,
    LocalWeights,
    ModelCard,
    WeightsFile,
)
from zoo_core.weights import hub, lock
from zoo_core.weights.cache import cached_file, endpoint, etag_of, is_offline
from zoo_core.weights.checkpoint import Checkpoint
from zoo_core.weights.commits import DEFAULT_REVISION, ask, commit_of, listing_of, not_cached
from zoo_core.weights.digest import combine, map_in_threads, sha256
from zoo_core.weights.licences import use_notice
from zoo_core.weights.lock import Claim, Listing
from zoo_core.weights.verify import Finding, verify

_log = logging.getLogger(__name__)

SMALL = (".json", ".txt", ".jinja")
"""Suffixes of files that are no weights."""
MAX_SMALL = 2**20
"""Most bytes of a file that is fetched before it is known that a plugin runs the checkpoint."""

Check = Callable[[Checkpoint, Callable[[str, int, int], bytes]], None]
"""Takes the small files of a checkpoint, and a function that reads a part of another file on the Hub by its
name, from one byte to another."""

Claims = Mapping[str, Sequence[Claim]]
"""What is claimed about each file, by name."""


@dataclass(frozen=True)
class Plan:
    """The files of a model that must be fetched."""

    repo: str
    commit: str
    files: tuple[WeightsFile, ...]
    """Those that are not in the cache; empty if all are."""

    @property
    def bytes(self) -> int | None:
        """Total size; None if the size of one file is unknown."""
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


def get_checkpoint(
    card: ModelCard | ExtractorCard,
    *,
    update: bool = False,
    progress: bool = True,
    announce: Callable[[Plan], None] | None = None,
    check: Check | None = None,
) -> Checkpoint:
    """Return the verified checkpoint of a card, fetching what is not here yet.

    Files from the Hub are compared with the card, the lock file and their ETags every time. A file that
    differs is fetched once more; if that does not help, or the network is forbidden, it is refused. Use
    clauses of the licence are logged as a warning before the first download. This
    imports neither torch nor, for files that are here already, huggingface_hub: in a thread of its own it is
    done before torch is imported.

    Args:
        card: The model, or an extractor that has weights.
        update: Ask the Hub for the newest commit of weights that the card does not pin, and pin that.
        progress: Show progress bars on stderr, if it is a terminal.
        announce: Called before anything is fetched, with what will be.
        check: Called before weights are fetched; what it raises prevents the download.

    Raises:
        WeightsError: The weights cannot be found, fetched or verified.
    """
    weights = card.weights
    if isinstance(weights, EmbeddedWeights):
        return _from_folder("embedded", weights.folder, files_under(weights.folder))
    if isinstance(weights, LocalWeights):
        source = getattr(card, "id", "")  # the path of a folder, or of the file that is the model
        source = source if os.path.isabs(source) else str(weights.folder)
        return _from_folder(source, weights.folder, weights.files)
    assert weights is not None, "the card has no weights"
    commit = weights.revision or commit_of(weights.repo, DEFAULT_REVISION, update=update)
    missing = [f for f in weights.files if not os.path.isfile(cached_file(weights.repo, commit, f.name))]
    small = [file for file in weights.files if _is_small(file)]
    if check and missing:
        here = ensure_files(weights.repo, commit, small, progress=False)
        check(here, partial(hub.read_part, weights.repo, commit))
    is_first = missing and all(file in missing or file in small for file in weights.files)
    if is_first and isinstance(card, ModelCard):
        notice = use_notice(card.license, f"{endpoint()}/{weights.repo}")
        if notice is not None:
            _log.warning(notice)
    checkpoint = ensure_files(weights.repo, commit, weights.files, progress=progress, announce=announce)
    if weights.revision is None:
        lock.record_pin(weights.repo, DEFAULT_REVISION, commit)
    return checkpoint


def _is_small(file: WeightsFile) -> bool:
    """Return True for a file that may be fetched to see whether a plugin runs the checkpoint."""
    return file.name.endswith(SMALL) and (file.bytes or 0) <= MAX_SMALL


def plan(card: ModelCard, *, update: bool = False) -> Plan | None:
    """Return what :func:`get_checkpoint` would fetch; None for weights that do not come from the Hub.

    Files are only looked for, not verified, and nothing is pinned.

    Raises:
        WeightsError: The Hub must be asked and cannot be.
    """
    if not isinstance(card.weights, HubWeights):
        return None
    weights = card.weights
    commit = weights.revision or commit_of(weights.repo, DEFAULT_REVISION, update=update)
    missing = [
        file for file in weights.files if not os.path.isfile(cached_file(weights.repo, commit, file.name))
    ]
    if any(file.bytes is None for file in missing):
        listed = listing_of(weights.repo, commit).files
        sizes = {name: claim.bytes for name, claim in listed.items()}
        missing = [WeightsFile(file.name, sizes.get(file.name), file.sha256) for file in missing]
    return Plan(weights.repo, commit, tuple(missing))


def files_under(folder: Path) -> tuple[str, ...]:
    """Return the paths inside a folder, without hidden files and Python files."""
    inside = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple(
        path.as_posix()
        for path in inside
        if path.suffix not in (".py", ".pyc") and not any(part.startswith(".") for part in path.parts)
    )


def ensure_files(
    repo: str,
    commit: str,
    files: Sequence[WeightsFile],
    *,
    progress: bool = True,
    announce: Callable[[Plan], None] | None = None,
) -> Checkpoint:
    """Return these files of a commit as a checkpoint, each verified, and fetched if necessary.

    Args:
        repo: The repository.
        commit: The commit, 40 hexadecimal digits.
        files: The files, with their size and sha256 where those are known.
        progress: Show progress bars on stderr, if it is a terminal.
        announce: Called before anything is fetched, with what will be.

    Raises:
        WeightsError: A file cannot be fetched, or its content is wrong.
    """
    paths = {file.name: cached_file(repo, commit, file.name) for file in files}
    verified = lock.read_verified(repo, commit)
    claims = {file.name: [Claim(file.bytes, file.sha256), verified.get(file.name, Claim())] for file in files}
    findings = {finding.name: finding for finding in _verify(paths, claims)}
    faulty = [finding for finding in findings.values() if finding.fault]
    if faulty:
        listing = _ask_for_repair(repo, commit, faulty)
        listed = {f.name: listing.files.get(f.name, Claim()) for f in faulty}
        plan = Plan(repo, commit, tuple(WeightsFile(name, claim.bytes) for name, claim in listed.items()))
        if announce is not None:
            announce(plan)
        hub.check_room(repo, plan.bytes or 0)
        hub.sweep(repo)
        claims = {name: [*claims[name], claim] for name, claim in listed.items()}
        findings.update(_repair(repo, commit, faulty, claims, progress))

    known = {file.name for file in files if file.sha256 and file.bytes is not None} | verified.keys()
    news = {f.name: Claim(f.bytes, f.sha256) for f in findings.values() if f.name not in known}
    if news:
        lock.record_verified(repo, commit, news)
    return Checkpoint(f"hf:{repo}@{commit}", paths, combine({f.name: f.sha256 for f in findings.values()}))


def _from_folder(source: str, folder: Path, names: Iterable[str]) -> Checkpoint:
    paths = {name: folder / name for name in names}
    if not paths:
        raise WeightsError(f"There are no weights in {folder}.", "Reinstall the plugin.")
    for name, path in paths.items():
        if not os.path.isfile(path):
            raise WeightsError(f"{name} is missing in {folder}.", "Put it back, or reinstall the plugin.")
    try:
        sha256s = dict(zip(paths, map_in_threads(sha256, paths.values()), strict=True))
    except OSError as error:
        raise WeightsError(
            f"{error.filename or folder} cannot be read: {error.strerror}.", "Make it readable."
        ) from error
    return Checkpoint(source, paths, combine(sha256s))


def _verify(paths: Mapping[str, Path], claims: Claims) -> list[Finding]:
    """Verify files against the claims and against the ETag under which the cache keeps them."""
    etags = {name: etag_of(path) or "" for name, path in paths.items()}
    return verify(
        paths,
        {
            name: [*claims[name], Claim(hash=etag)] if len(etag) in (40, 64) else claims[name]
            for name, etag in etags.items()
        },
    )


def _ask_for_repair(repo: str, commit: str, faulty: Sequence[Finding]) -> Listing:
    """Ask the Hub about the commit of these files; if that fails, the error says what is wrong with them."""
    altered = next((finding for finding in faulty if finding.exists), None)
    if is_offline():
        if altered is None:
            raise not_cached(f"{faulty[0].name} of {repo}@{commit}")
        raise WeightsError(
            f"{_describe(repo, commit, altered)}, and HF_HUB_OFFLINE forbids fetching it again.",
            "Unset HF_HUB_OFFLINE and run again: the file is then repaired.",
        )
    try:
        # One request that is never retried: a Hub that cannot be reached is known at once.
        return ask(repo, commit)
    except WeightsError as error:
        if altered is None:
            raise
        raise WeightsError(f"{_describe(repo, commit, altered)}. {error.message}", error.remedy) from error


def _repair(
    repo: str, commit: str, faulty: Sequence[Finding], claims: Claims, progress: bool
) -> dict[str, Finding]:
    """Fetch files that are missing or damaged; fetch those that arrive damaged once more."""
    repaired = {finding.name: finding for finding in faulty}
    for _ in range(2):
        wrong = [finding for finding in repaired.values() if finding.fault]
        for finding in wrong:
            whole = hub.download(repo, commit, finding.name, again=finding.exists, progress=progress)
            [found] = _verify({finding.name: cached_file(repo, commit, finding.name)}, claims)
            repaired[finding.name] = found if whole else replace(found, fault="arrived incomplete")
    wrong = [finding for finding in repaired.values() if finding.fault]
    if wrong:
        raise WeightsError(
            f"{_describe(repo, commit, wrong[0])}, also after a second download.",
            "Try again later; if it happens again, tell the author of the card.",
        )
    return repaired


def _describe(repo: str, commit: str, finding: Finding) -> str:
    return f"{finding.name} of {repo}@{commit[:12]} {finding.fault}"
