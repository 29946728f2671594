"""An adapter: a small change of a model's weights, in a folder or a Hub repository of its own."""

from __future__ import annotations

import os
from pathlib import Path

from zoo_core.errors import WeightsError, some
from zoo_core.manifest.cards import LocalWeights, ModelCard, WeightsFile
from zoo_core.weights import lock
from zoo_core.weights.cache import is_offline
from zoo_core.weights.checkpoint import Checkpoint
from zoo_core.weights.commits import DEFAULT_REVISION, commit_of, listing_of
from zoo_core.weights.names import HubName, is_explicit, parse_hub_name
from zoo_core.weights.store import ensure_files, get_checkpoint

CONFIG, WEIGHTS = "adapter_config.json", "adapter_model.safetensors"
"""The files of an adapter, as peft names them."""


def get_adapter(name: str | os.PathLike[str]) -> Checkpoint:
    """Return the verified files of an adapter; they are fetched if they are not here.

    Args:
        name: A folder, or the name of a Hub repository as :func:`zoo_core.load` takes it.

    Raises:
        WeightsError: There is none, or its files cannot be fetched or read.
    """
    text = os.fspath(name)
    hub_name = (
        parse_hub_name(text) if is_explicit(text) or not os.path.isdir(os.path.expanduser(text)) else None
    )
    if hub_name is not None:
        return _from_hub(hub_name)
    folder = Path(os.path.expanduser(text)).absolute()
    if not folder.is_dir():
        raise WeightsError(f"There is no folder {folder} with an adapter.", "Check the path.")
    _require(os.listdir(folder), str(folder))
    weights = LocalWeights(folder, (CONFIG, WEIGHTS))
    return get_checkpoint(ModelCard("adapter", "", "", "", "", "", weights))


def _from_hub(name: HubName) -> Checkpoint:
    revision = name.revision or DEFAULT_REVISION
    commit = commit_of(name.repo, revision)
    listing = lock.read_listing(name.repo, commit) if is_offline() else listing_of(name.repo, commit)
    if listing is not None:
        _require(list(listing.files), str(name))
    sizes = {each: listing.files[each].bytes if listing else None for each in (CONFIG, WEIGHTS)}
    found = ensure_files(name.repo, commit, [WeightsFile(each, size) for each, size in sizes.items()])
    if revision != commit:
        lock.record_pin(name.repo, revision, commit)
    return found


def _require(names: list[str], source: str) -> None:
    if missing := [each for each in (CONFIG, WEIGHTS) if each not in names]:
        raise WeightsError(
            f"{source} is no adapter: it has no {missing[0]}, but {some(sorted(names)) or 'no files'}.",
            f"Give a folder or a repository with {CONFIG} and {WEIGHTS}.",
        )
