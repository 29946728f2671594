"""Which commit a branch stands for, and what is in it: from the lock file, the cache, or the Hub."""

from __future__ import annotations

from zoo_core.errors import WeightsError
from zoo_core.weights import hub, lock
from zoo_core.weights.cache import COMMIT, commit_of_ref, is_offline

DEFAULT_REVISION = "main"


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
    return ask(repo, revision).commit


def listing_of(repo: str, commit: str) -> lock.Listing:
    """Return what the Hub says about a commit, asking it the first time.

    Raises:
        WeightsError: It must be asked and cannot be.
    """
    if listing := lock.read_listing(repo, commit):
        return listing
    if is_offline():
        raise not_cached(f"{repo}@{commit}")
    return ask(repo, commit)


def ask(repo: str, revision: str) -> lock.Listing:
    """Ask the Hub about a branch, tag or commit, and remember what it says about the commit.

    Raises:
        WeightsError: It is not there, not allowed, or not to be reached.
    """
    listing = hub.ask(repo, revision)
    lock.record_listing(repo, listing)
    return listing


def not_cached(what: str) -> WeightsError:
    """Return the error for something that would have to be fetched while the network is forbidden."""
    return WeightsError(
        f"{what} is not in the cache, and HF_HUB_OFFLINE forbids to fetch it.",
        "Fetch it once with a network: unset HF_HUB_OFFLINE and run zoo pull.",
    )
