"""From a card to a verified checkpoint: nothing is run that is not what the card or the lock says it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo_core.card import EmbeddedWeights, HubWeights, LocalWeights, ModelCard, WeightsFile
from zoo_core.errors import WeightsError
from zoo_core.weights import hub, lock
from zoo_core.weights.cache import COMMIT, cached_file, commit_of_ref, endpoint, etag_of, is_offline
from zoo_core.weights.checkpoint import Checkpoint
from zoo_core.weights.digest import combine
from zoo_core.weights.lock import Claim
from zoo_core.weights.verify import Finding, verify

DEFAULT_REVISION = "main"


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


def obtain(
    card: ModelCard,
    *,
    update: bool = False,
    progress: bool = True,
    announce: Callable[[Plan], None] | None = None,
) -> Checkpoint:
    """Return the verified checkpoint of a card, fetching what is not here yet.

    Files from the Hub are compared with the card, the lock file and the Hub's own names for their content,
    every time. One that does not agree is fetched once more; where that does not help, or the network is
    forbidden, it is refused. This imports neither torch nor, for files that are here already,
    huggingface_hub: called in a thread, it is done before torch is imported.

    Args:
        card: The model.
        update: For weights that the card does not pin: ask the Hub for the newest commit, and keep that.
        progress: Show progress bars on stderr, if it is a terminal.
        announce: Called before anything is fetched, with what will be.

    Raises:
        WeightsError: The weights cannot be found, fetched or verified.
    """
    weights = card.weights
    if isinstance(weights, EmbeddedWeights):
        return _from_folder("embedded", weights.folder, files_under(weights.folder))
    if isinstance(weights, LocalWeights):
        return _from_folder(str(weights.folder), weights.folder, weights.files)
    pinned = weights.revision is not None
    commit = weights.revision or commit_of(weights.repo, DEFAULT_REVISION, update=update)
    checkpoint = ensure(weights.repo, commit, weights.files, progress=progress, announce=announce)
    if not pinned:
        lock.record_pin(weights.repo, DEFAULT_REVISION, commit)
    return checkpoint


def plan(card: ModelCard, *, update: bool = False) -> Plan | None:
    """Say what :func:`obtain` would fetch; None for weights that do not come from the Hub.

    Raises:
        WeightsError: The Hub is needed to tell, and cannot be asked.
    """
    if not isinstance(card.weights, HubWeights):
        return None
    weights = card.weights
    commit = weights.revision or commit_of(weights.repo, DEFAULT_REVISION, update=update)
    missing = [file for file in weights.files if not cached_file(weights.repo, commit, file.name).is_file()]
    if any(file.bytes is None for file in missing):
        listed = listing_of(weights.repo, commit).files
        missing = [
            WeightsFile(file.name, listed.get(file.name, Claim()).bytes, file.sha256) for file in missing
        ]
    return Plan(weights.repo, commit, tuple(missing))


def commit_of(repo: str, revision: str, *, update: bool = False) -> str:
    """Return the commit that a branch, tag or commit stands for, without changing what it is kept at.

    That is the commit in the lock file; for one that is not there, or to ``update``, the one the Hub names.

    Raises:
        WeightsError: The Hub must be asked and cannot be.
    """
    if COMMIT.fullmatch(revision):
        return revision
    if not update and (pin := lock.read_pin(repo, revision)):
        return pin
    if is_offline():
        if update:
            raise WeightsError(
                f"{repo} cannot be updated: HF_HUB_OFFLINE forbids to ask the Hub.", "Unset HF_HUB_OFFLINE."
            )
        if commit := commit_of_ref(repo, revision):
            return commit
        raise not_cached(f"{repo}@{revision}")
    listing = hub.ask(repo, revision)
    lock.record_listing(repo, listing)
    return listing.commit


def listing_of(repo: str, commit: str) -> lock.Listing:
    """Return what the Hub says about a commit, asking it the first time.

    Raises:
        WeightsError: It must be asked and cannot be.
    """
    listing = lock.read_listing(repo, commit)
    if listing is None:
        if is_offline():
            raise not_cached(f"{repo}@{commit}")
        listing = hub.ask(repo, commit)
        lock.record_listing(repo, listing)
    return listing


def ensure(
    repo: str,
    commit: str,
    files: Sequence[WeightsFile],
    *,
    progress: bool = True,
    announce: Callable[[Plan], None] | None = None,
) -> Checkpoint:
    """Return the checkpoint of these files of a commit, each verified, and fetched if need be.

    Raises:
        WeightsError: A file cannot be fetched, or is not what it should be.
    """
    names = [file.name for file in files]
    paths = {name: cached_file(repo, commit, name) for name in names}
    verified = lock.read_verified(repo, commit)
    told = {file.name: [Claim(file.bytes, file.sha256)] for file in files}
    for name in names:
        if name in verified:
            told[name].append(verified[name])

    findings = {finding.name: finding for finding in _verify(paths, told)}
    faulty = [finding for finding in findings.values() if finding.fault]
    if faulty:
        findings.update(_repair(repo, commit, faulty, paths, told, progress, announce))

    known = {file.name for file in files if file.sha256 and file.bytes is not None} | verified.keys()
    news = {f.name: Claim(f.bytes, f.sha256) for f in findings.values() if f.name not in known}
    if news:
        lock.record_verified(repo, commit, news)
    return Checkpoint(f"hf:{repo}@{commit}", paths, combine({f.name: f.sha256 for f in findings.values()}))


def files_under(folder: Path) -> tuple[str, ...]:
    """Return the paths inside a folder, hidden files and Python's own left out."""
    inside = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.is_file())
    return tuple(
        path.as_posix()
        for path in inside
        if path.suffix not in (".py", ".pyc") and not any(part.startswith(".") for part in path.parts)
    )


def _from_folder(source: str, folder: Path, names: Iterable[str]) -> Checkpoint:
    paths = {name: folder / name for name in names}
    if not paths:
        raise WeightsError(f"There are no weights in {folder}.", "Install the plugin anew.")
    for name, path in paths.items():
        if not path.is_file():
            raise WeightsError(f"{name} is gone from {folder}.", "Put it back.")
    from zoo_core.weights.digest import map_in_threads, sha256

    sha256s = dict(zip(paths, map_in_threads(sha256, paths.values()), strict=True))
    return Checkpoint(source, paths, combine(sha256s))


def _verify(paths: Mapping[str, Path], told: Mapping[str, Sequence[Claim]]) -> list[Finding]:
    """Verify against what was told and against the name under which the cache keeps each file."""
    claims = {}
    for name, path in paths.items():
        etag = etag_of(path)
        by_name = [Claim(hash=etag)] if etag and len(etag) in (40, 64) else []
        claims[name] = [*told[name], *by_name]
    return verify(paths, claims)


def _repair(
    repo: str,
    commit: str,
    faulty: Sequence[Finding],
    paths: Mapping[str, Path],
    told: Mapping[str, Sequence[Claim]],
    progress: bool,
    announce: Callable[[Plan], None] | None,
) -> dict[str, Finding]:
    """Fetch files that are missing or not what they should be; those that come wrong, once more."""
    altered = [finding for finding in faulty if finding.exists]
    if is_offline():
        if not altered:
            raise not_cached(f"{faulty[0].name} of {repo}@{commit}")
        raise WeightsError(
            f"{_describe(repo, commit, altered[0])}, and HF_HUB_OFFLINE forbids to fetch it again.",
            "Unset HF_HUB_OFFLINE once, so that it can be repaired.",
        )
    try:
        # One request that is never retried: a Hub that cannot be reached is known at once.
        listing = hub.ask(repo, commit)
    except WeightsError as error:
        if not altered:
            raise
        raise WeightsError(f"{_describe(repo, commit, altered[0])}. {error.message}", error.remedy) from error
    lock.record_listing(repo, listing)
    for finding in faulty:
        if finding.name not in listing.files:
            raise WeightsError(
                f"{repo} has no file {finding.name} at {commit}.",
                f"See {endpoint()}/{repo}/tree/{commit} for those it has.",
            )
    told = {f.name: [*told[f.name], listing.files[f.name]] for f in faulty}
    to_fetch = Plan(repo, commit, tuple(WeightsFile(f.name, listing.files[f.name].bytes) for f in faulty))
    if announce is not None:
        announce(to_fetch)
    hub.check_room(repo, to_fetch.bytes or 0)
    hub.sweep(repo)

    repaired: dict[str, Finding] = {}
    again = {finding.name: finding.exists for finding in faulty}
    for _ in range(2):
        for name, exists in again.items():
            hub.download(repo, commit, name, again=exists, progress=progress)
        found = _verify({name: paths[name] for name in again}, told)
        repaired.update((finding.name, finding) for finding in found)
        again = {finding.name: finding.exists for finding in found if finding.fault}
        if not again:
            return repaired
    wrong = next(finding for finding in repaired.values() if finding.fault)
    raise WeightsError(
        f"{_describe(repo, commit, wrong)}, twice.",
        "It was not used. Try again later; if it stays so, tell the author of the card.",
    )


def _describe(repo: str, commit: str, finding: Finding) -> str:
    return f"{finding.name} of {repo}@{commit[:12]} {finding.fault}"


def not_cached(what: str) -> WeightsError:
    """Return the error for something that would have to be fetched while the network is forbidden."""
    return WeightsError(
        f"{what} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it.",
        "Fetch it once with a network: unset HF_HUB_OFFLINE and run zoo pull.",
    )
