"""The commit of a branch and its files: from the lock file, the cache, or the Hub."""

from __future__ import annotations

from zoo_core.errors import RepositoryError, WeightsError
from zoo_core.weights import hub, lock
from zoo_core.weights.cache import COMMIT, commit_of_ref, is_offline

DEFAULT_REVISION = "main"


def commit_of(repo: str, revision: str, *, update: bool = False) -> str:
    """Return the commit of a branch, tag or commit, without pinning it.

    It is the commit in the lock file; for a branch that is not there, or to ``update``, the Hub's.

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
                f"{repo} cannot be updated: HF_HUB_OFFLINE forbids asking the Hub.", "Unset HF_HUB_OFFLINE."
            )
        if commit := commit_of_ref(repo, revision):
            return commit
        raise not_cached(f"{repo}@{revision}")
    return ask(repo, revision).commit


def listing_of(repo: str, commit: str) -> lock.Listing:
    """Return the Hub's answer about a commit; the Hub is asked only the first time.

    Raises:
        WeightsError: The Hub must be asked and cannot be.
    """
    if listing := lock.read_listing(repo, commit):
        return listing
    if is_offline():
        raise not_cached(f"{repo}@{commit}")
    return ask(repo, commit)


def ask(repo: str, revision: str) -> lock.Listing:
    """Ask the Hub about a branch, tag or commit, and store its answer.

    Raises:
        WeightsError: It does not exist, is not allowed, or cannot be reached.
    """
    listing = hub.ask(repo, revision)
    lock.record_listing(repo, listing)
    return listing


def not_cached(what: str) -> RepositoryError:
    """Return the error for something that must be fetched while the network is forbidden."""
    return RepositoryError(
        f"{what} is not in the cache, and HF_HUB_OFFLINE forbids fetching it.",
        "Unset HF_HUB_OFFLINE and fetch it once, with zoo pull.",
    )
