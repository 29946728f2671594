"""Files of a commit: verified if they are here, fetched if not, fetched again if they are not right."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from zoo_core.errors import WeightsError
from zoo_core.manifest.cards import WeightsFile
from zoo_core.weights import hub, lock
from zoo_core.weights.cache import cached_file, etag_of, is_offline
from zoo_core.weights.checkpoint import Checkpoint
from zoo_core.weights.commits import ask, not_cached
from zoo_core.weights.digest import combine
from zoo_core.weights.lock import Claim, Listing
from zoo_core.weights.verify import Finding, verify


@dataclass(frozen=True)
class Plan:
    """What is still to be fetched for a model."""

    repo: str
    commit: str
    files: tuple[WeightsFile, ...]
    """The files that are not in the cache; empty if all are."""

    @property
    def bytes(self) -> int | None:
        """Size of the files together; None if one of them is not known."""
        sizes = [file.bytes for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)


Claims = Mapping[str, Sequence[Claim]]
"""What is claimed about each file, by name."""


def ensure(
    repo: str,
    commit: str,
    files: Sequence[WeightsFile],
    *,
    progress: bool = True,
    announce: Callable[[Plan], None] | None = None,
) -> Checkpoint:
    """Return the checkpoint of these files of a commit, each verified, and fetched if need be.

    Args:
        repo: The repository.
        commit: The commit, 40 hexadecimal digits.
        files: The files, with the size and sha256 they must have where those are known.
        progress: Show progress bars on stderr, if it is a terminal.
        announce: Called before anything is fetched, with what will be.

    Raises:
        WeightsError: A file cannot be fetched, or is not what it should be.
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


def _verify(paths: Mapping[str, Path], claims: Claims) -> list[Finding]:
    """Verify against the claims and against the name under which the cache keeps each file."""
    etags = {name: etag_of(path) or "" for name, path in paths.items()}
    return verify(
        paths,
        {
            name: [*claims[name], Claim(hash=etag)] if len(etag) in (40, 64) else claims[name]
            for name, etag in etags.items()
        },
    )


def _ask_for_repair(repo: str, commit: str, faulty: Sequence[Finding]) -> Listing:
    """Ask the Hub about the commit that these files are to be fetched of; say what is wrong if that fails."""
    altered = next((finding for finding in faulty if finding.exists), None)
    if is_offline():
        if altered is None:
            raise not_cached(f"{faulty[0].name} of {repo}@{commit}")
        raise WeightsError(
            f"{_describe(repo, commit, altered)}, and HF_HUB_OFFLINE forbids to fetch it again.",
            "Unset HF_HUB_OFFLINE once, so that it can be repaired.",
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
    """Fetch files that are missing or not right; those that come wrong, once more."""
    repaired = {finding.name: finding for finding in faulty}
    for _ in range(2):
        wrong = [finding for finding in repaired.values() if finding.fault]
        for finding in wrong:
            whole = hub.download(repo, commit, finding.name, again=finding.exists, progress=progress)
            [found] = _verify({finding.name: cached_file(repo, commit, finding.name)}, claims)
            repaired[finding.name] = found if whole else replace(found, fault="came incomplete")
    wrong = [finding for finding in repaired.values() if finding.fault]
    if wrong:
        raise WeightsError(
            f"{_describe(repo, commit, wrong[0])}, twice.",
            "It was not used. Try again later; if it stays so, tell the author of the card.",
        )
    return repaired


def _describe(repo: str, commit: str, finding: Finding) -> str:
    return f"{finding.name} of {repo}@{commit[:12]} {finding.fault}"
