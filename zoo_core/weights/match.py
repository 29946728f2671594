"""Recognise checkpoints without a card by a config file in them."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_core.errors import WeightsError, short_repr, some
from zoo_core.manifest.cards import CheckpointRule, HubWeights, LocalWeights, ModelCard, Weights, WeightsFile
from zoo_core.weights import lock
from zoo_core.weights.cache import cached_file, endpoint, is_offline
from zoo_core.weights.checkpoint import FORMATS, read_json_object, shards_of
from zoo_core.weights.commits import DEFAULT_REVISION, commit_of, listing_of, not_cached
from zoo_core.weights.store import ensure_files, files_under

_ARCHITECTURE_KEYS = ("_class_name", "model_type", "architectures")
"""Keys that name the architecture in published configs."""
_FOREIGN = (".pkl", ".pt", ".pth", ".ckpt", ".bin", ".safetensors")


def match_hub(
    repo: str, revision: str | None, rules: Sequence[CheckpointRule], *, update: bool = False
) -> ModelCard:
    """Return a card for a Hub repository that no manifest names.

    The commit is pinned like that of an unpinned card. A repository that was pulled before needs no network.

    Args:
        repo: ``ORG/NAME``.
        revision: Branch, tag or commit; None for ``main``.
        rules: The rules to try; the first that matches is used.
        update: Ask the Hub for the newest commit of the branch, and pin that.

    Raises:
        WeightsError: It cannot be fetched, no rule matches it, or it has no weights that can be read.
    """
    given = f"hf:{repo}@{revision}" if revision else f"hf:{repo}"
    revision = revision or DEFAULT_REVISION
    commit = commit_of(repo, revision, update=update)
    listing = lock.read_listing(repo, commit) if is_offline() else listing_of(repo, commit)
    if listing is not None:
        names = listing.files
    else:
        # Another tool filled the cache: only what it fetched is known.
        snapshot = cached_file(repo, commit, ".")
        if not snapshot.is_dir():
            raise not_cached(f"{repo}@{revision}")
        names = {name: lock.Claim() for name in files_under(snapshot)}

    def file(name: str) -> WeightsFile:
        claim = names[name]
        return WeightsFile(name, claim.bytes, claim.hash if claim.hash and len(claim.hash) == 64 else None)

    def read(name: str) -> dict[str, Any]:
        return ensure_files(repo, commit, [file(name)]).json(name)

    try:
        rule, chosen = _choose(_Place(given, names.__contains__, read, list(names)), rules)
    except WeightsError as error:
        if listing is None:  # the missing files may be on the Hub
            raise not_cached(f"All of {repo}@{revision}") from error
        raise
    if revision != commit:
        lock.record_pin(repo, revision, commit)
    return _card(
        rule,
        given,
        HubWeights(repo, commit, tuple(file(name) for name in chosen)),
        license=(listing.license if listing else None) or "unknown",
        homepage=f"{endpoint()}/{repo}",
    )


def match_folder(folder: Path, rules: Sequence[CheckpointRule]) -> ModelCard:
    """Return a card for a folder with a checkpoint in it.

    Args:
        folder: The folder; its absolute path becomes the card's id.
        rules: The rules to try; the first that matches is used.

    Raises:
        WeightsError: It is not a folder, no rule matches it, or it has no weights that can be read.
    """
    folder = Path(os.path.expanduser(folder)).absolute()
    if os.path.isfile(folder):
        raise WeightsError(
            f"{folder} is a file; a model is a folder with weights and a config file.",
            f"Convert it to such a folder: zoo convert {folder} -o FOLDER",
        )
    if not os.path.isdir(folder):
        raise WeightsError(
            f"There is no folder {folder}.", "Check the path, or see the models by name: zoo list"
        )
    try:
        listed = sorted(os.listdir(folder))
    except OSError as error:
        raise WeightsError(f"{folder} cannot be read: {error.strerror}.", "Make it readable.") from error
    if not listed:
        raise WeightsError(f"{folder} is empty.", "Give a folder with weights and a config file.")
    place = _Place(
        str(folder),
        lambda name: os.path.isfile(folder / name),
        lambda name: read_json_object(folder / name, str(folder)),
        listed,
    )
    rule, chosen = _choose(place, rules)
    return _card(rule, str(folder), LocalWeights(folder, chosen), license="unknown", homepage=None)


@dataclass(frozen=True)
class _Place:
    """A repository or a folder that holds a checkpoint."""

    source: str
    has: Callable[[str], bool]
    read: Callable[[str], dict[str, Any]]
    """Return the JSON object in a file."""
    listed: Sequence[str]
    """File names to show if nothing matches."""


def _choose(place: _Place, rules: Sequence[CheckpointRule]) -> tuple[CheckpointRule, tuple[str, ...]]:
    """Return the first rule that matches, and the files to use: config, further files, weights."""
    configs: dict[str, dict[str, Any]] = {}
    for rule in rules:
        if rule.config not in configs and place.has(rule.config):
            configs[rule.config] = place.read(rule.config)
        if rule.config in configs and rule.matches(configs[rule.config]):
            beside = [name for name in rule.files if place.has(name)]
            more = [stem for stem in rule.more_weights if any(place.has(stem + suffix) for suffix in FORMATS)]
            weights = [rule.weights, *((stem,) for stem in more)]
            names = [rule.config, *beside, *(name for stems in weights for name in _weights(place, stems))]
            return rule, tuple(dict.fromkeys(names))
    raise _no_match(place, rules, configs)


def _weights(place: _Place, stems: Sequence[str]) -> list[str]:
    """Return the file of a network's weights, or an index and the files it names."""
    names = (stem + suffix for stem in stems for suffix in FORMATS)
    name = next((name for name in names if place.has(name)), None)
    if name is None:
        wanted = " or ".join(f"{stem}.safetensors or {stem}.bin" for stem in stems)
        raise WeightsError(f"{place.source} has no weights named {wanted}.", _convert_remedy(place))
    if not name.endswith(".json"):
        return [name]
    shards = list(shards_of(name, place.read(name), place.source))
    for shard in shards:
        if not place.has(shard):
            raise WeightsError(
                f"{place.source} lacks {shard}, which {name} names.",
                "Get a complete copy of the checkpoint.",
            )
    return [name, *shards]


def _no_match(
    place: _Place, rules: Sequence[CheckpointRule], configs: Mapping[str, Mapping[str, Any]]
) -> WeightsError:
    if not rules:
        return WeightsError(
            f"{place.source}: no installed plugin runs checkpoints without a card.",
            "Find a plugin that does: zoo search WORD",
        )
    if not configs:
        wanted = ", ".join(dict.fromkeys(rule.config for rule in rules))
        return WeightsError(
            f"{place.source} has no config file that is known: none of {wanted}.", _convert_remedy(place)
        )
    found = "; ".join(f"{name} says {_architecture(config)}" for name, config in configs.items())
    kinds = ", ".join(dict.fromkeys(_kind(rule) for rule in rules))
    return WeightsError(
        f"No installed plugin runs {place.source}: {found}.",
        f"Installed plugins run: {kinds}. Find more: zoo search WORD",
    )


def _kind(rule: CheckpointRule) -> str:
    values = ("/".join(values) for values in rule.where.values())
    return f"{' '.join(values) or 'a config with ' + ', '.join(rule.keys)} ({rule.plugin})"


def _architecture(config: Mapping[str, Any]) -> str:
    told = [f"{key} = {short_repr(config[key])}" for key in _ARCHITECTURE_KEYS if config.get(key)]
    return ", ".join(told) or "none of " + ", ".join(_ARCHITECTURE_KEYS)


def _convert_remedy(place: _Place) -> str:
    foreign = next((name for name in place.listed if name.endswith(_FOREIGN)), None)
    if foreign:
        return f"{foreign} may be convertible: zoo convert {foreign} -o FOLDER"
    return f"It has {some(place.listed) or 'no files'}. Give a checkpoint with a config and weights."


def _card(
    rule: CheckpointRule, name: str, weights: Weights, *, license: str, homepage: str | None
) -> ModelCard:
    return ModelCard(
        id=name,
        plugin=rule.plugin,
        summary=rule.summary,
        family=rule.family,
        output=rule.output,
        license=license,
        weights=weights,
        homepage=homepage,
        prompt=rule.prompt,
        capabilities=rule.capabilities,
        options=rule.options,
    )
