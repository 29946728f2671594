"""List and remove what the Hub cache holds."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass

from zoo_core.errors import WeightsError
from zoo_core.manifest.cards import HubWeights, ModelCard
from zoo_core.weights import lock
from zoo_core.weights.cache import cache_folder, cached_file, folder_name, repo_folder
from zoo_core.weights.commits import DEFAULT_REVISION


@dataclass(frozen=True)
class CachedRepo:
    """A model repository in the Hub cache."""

    repo: str
    bytes: int
    """Size on disk, all revisions together."""
    commits: tuple[str, ...]
    models: tuple[str, ...]
    """Ids of the cards whose weights it holds."""
    ours: bool
    """True if the zoo pulled it or a card names it; False if only another tool did."""


@dataclass(frozen=True)
class CacheReport:
    """The content of the Hub cache."""

    folder: str
    repos: tuple[CachedRepo, ...]
    """Largest first."""
    abandoned: int
    """Bytes in partial files of interrupted downloads."""

    @property
    def bytes(self) -> int:
        """Size of all repositories together."""
        return sum(repo.bytes for repo in self.repos)


def is_cached(card: ModelCard) -> int | None:
    """Return the size of a Hub card's weights in the cache; None unless all of its files are there.

    Only existence is checked: :func:`zoo_core.weights.store` verifies them.
    """
    weights = card.weights
    if not isinstance(weights, HubWeights):
        return None
    commit = weights.revision or lock.read_pin(weights.repo, DEFAULT_REVISION)
    if commit is None:
        return None
    try:
        return sum(cached_file(weights.repo, commit, file.name).stat().st_size for file in weights.files)
    except OSError:
        return None


def cached_among(cards: Iterable[ModelCard]) -> frozenset[str]:
    """Return the ids of the cards whose weights are in the Hub cache; fast for thousands of cards."""
    try:
        folders = frozenset(os.listdir(cache_folder()))
    except OSError:
        return frozenset()
    return frozenset(
        card.id
        for card in cards
        if isinstance(card.weights, HubWeights)
        and folder_name(card.weights.repo) in folders
        and is_cached(card) is not None
    )


def remove(model: ModelCard | str) -> int:
    """Delete a model's weights from the Hub cache and return the number of bytes freed.

    A card's revision is deleted, or all revisions of a repository ``ORG/NAME``, for every tool that shares
    the cache. The commit stays in the lock file, so that the next pull gets the same model.

    Raises:
        WeightsError: The weights are not in the Hub cache, or cannot be deleted.
    """
    commits: set[str] | None = None
    if isinstance(model, str):
        repo = model
    else:
        weights = model.weights
        if not isinstance(weights, HubWeights):
            raise WeightsError(
                f"{model.id} does not come from the Hub, so it is not in the cache.",
                "Remove embedded weights with their plugin: zoo uninstall. Delete your own folders yourself.",
            )
        repo = weights.repo
        commit = weights.revision or lock.read_pin(repo, DEFAULT_REVISION)
        commits = {commit} if commit else set()
    from huggingface_hub import scan_cache_dir

    nothing = WeightsError(f"{repo} is not in the cache.", "See what is: zoo cache")
    if not repo_folder(repo).is_dir():
        raise nothing
    info = scan_cache_dir(cache_folder())
    here = {
        revision.commit_hash
        for cached in info.repos
        if cached.repo_id == repo and cached.repo_type == "model"
        for revision in cached.revisions
    }
    to_delete = here if commits is None else here & commits
    if not to_delete:
        raise nothing
    strategy = info.delete_revisions(*to_delete)
    strategy.execute()
    return strategy.expected_freed_size


def cache_report(cards: Iterable[ModelCard] = ()) -> CacheReport:
    """Return the content of the Hub cache; ``cards`` say which models each repository belongs to."""
    from huggingface_hub import scan_cache_dir
    from huggingface_hub.errors import CacheNotFound

    models: dict[str, list[str]] = {}
    for card in cards:
        if isinstance(card.weights, HubWeights):
            models.setdefault(card.weights.repo, []).append(card.id)
    locked = lock.locked_repositories()
    try:
        info = scan_cache_dir(cache_folder())
    except CacheNotFound:
        return CacheReport(str(cache_folder()), (), 0)
    repos = [
        CachedRepo(
            repo.repo_id,
            repo.size_on_disk,
            tuple(sorted(revision.commit_hash for revision in repo.revisions)),
            tuple(models.get(repo.repo_id, ())),
            repo.repo_id in models or repo.repo_id in locked,
        )
        for repo in info.repos
        if repo.repo_type == "model"
    ]
    repos.sort(key=lambda repo: (-repo.bytes, repo.repo))
    return CacheReport(str(cache_folder()), tuple(repos), info.incomplete_size_on_disk)
