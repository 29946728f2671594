"""From a card to a verified checkpoint: nothing is run that is not what the card or the lock says it is."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
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
from zoo_core.weights import lock
from zoo_core.weights.cache import cached_file
from zoo_core.weights.checkpoint import Checkpoint
from zoo_core.weights.commits import DEFAULT_REVISION, commit_of, listing_of
from zoo_core.weights.digest import combine, map_in_threads, sha256
from zoo_core.weights.fetch import Plan, ensure


def obtain(
    card: ModelCard | ExtractorCard,
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
        card: The model, or an extractor that has weights.
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
    assert weights is not None, "who asks for weights knows that there are some"
    commit = weights.revision or commit_of(weights.repo, DEFAULT_REVISION, update=update)
    checkpoint = ensure(weights.repo, commit, weights.files, progress=progress, announce=announce)
    if weights.revision is None:
        lock.record_pin(weights.repo, DEFAULT_REVISION, commit)
    return checkpoint


def plan(card: ModelCard, *, update: bool = False) -> Plan | None:
    """Say what :func:`obtain` would fetch; None for weights that do not come from the Hub.

    Files are only looked for, not verified, and nothing is pinned.

    Raises:
        WeightsError: The Hub is needed to tell, and cannot be asked.
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
        if not os.path.isfile(path):
            raise WeightsError(f"{name} is gone from {folder}.", "Put it back.")
    try:
        sha256s = dict(zip(paths, map_in_threads(sha256, paths.values()), strict=True))
    except OSError as error:
        raise WeightsError(
            f"{error.filename or folder} cannot be read: {error.strerror}.", "Make it readable."
        ) from error
    return Checkpoint(source, paths, combine(sha256s))
