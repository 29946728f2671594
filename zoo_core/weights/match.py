"""Recognise checkpoints without a card: by a config file in them, or by the suffix of a single file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo_core.errors import WeightsError, some
from zoo_core.manifest.cards import CheckpointRule, HubWeights, LocalWeights, ModelCard, Weights, WeightsFile
from zoo_core.weights import lock
from zoo_core.weights.cache import cached_file, endpoint, is_offline
from zoo_core.weights.checkpoint import FORMATS, MAX_JSON_BYTES, read_json_object, shards_of
from zoo_core.weights.commits import DEFAULT_REVISION, commit_of, listing_of, not_cached
from zoo_core.weights.identify import LORA, base_of_adapter, identify
from zoo_core.weights.names import HubName
from zoo_core.weights.parts import parts_of, without_part
from zoo_core.weights.reading import tensor_names
from zoo_core.weights.store import ensure_files, files_under

_FOREIGN = (".pkl", ".pt", ".pth", ".ckpt", ".bin", ".safetensors")
_BESIDE = ("mmproj",)
"""Starts of the names of single files that are parts of a model."""

Elsewhere = Callable[[], Sequence[tuple[CheckpointRule, str]]]
"""Returns the rules of plugins that cannot be used now, each with what to do to use its plugin."""


def match_hub(
    name: HubName, rules: Sequence[CheckpointRule], elsewhere: Elsewhere = tuple, *, update: bool = False
) -> ModelCard:
    """Return a card for a Hub repository that no manifest names, or for a file in it. Fetches configs only.

    The commit is pinned like that of an unpinned card. A repository that was pulled before needs no network.

    Args:
        name: The repository, its revision, and a file where one is a model by itself.
        rules: The rules to try; the first that matches is used.
        elsewhere: The rules of plugins that are not installed or enabled, to name one that would match.
        update: Ask the Hub for the newest commit of the branch, and pin that.

    Raises:
        WeightsError: It cannot be fetched, no rule matches it, or it has no weights that can be read.
    """
    repo, revision = name.repo, name.revision or DEFAULT_REVISION
    commit = commit_of(repo, revision, update=update)
    listing = lock.read_listing(repo, commit) if is_offline() else listing_of(repo, commit)
    if listing is not None:
        names = listing.files
    else:
        # Another tool filled the cache: only what it fetched is known.
        snapshot = cached_file(repo, commit, ".")
        if not snapshot.is_dir():
            raise not_cached(f"{repo}@{revision}")
        names = {each: lock.Claim() for each in files_under(snapshot)}

    def file(path: str) -> WeightsFile:
        claim = names[path]
        return WeightsFile(path, claim.bytes, claim.hash if claim.hash and len(claim.hash) == 64 else None)

    def read(path: str) -> dict[str, Any]:
        if (size := names[path].bytes or 0) > MAX_JSON_BYTES:
            raise WeightsError(
                f"{path} of {name} has {size / 1e6:,.0f} MB, too many for a config.",
                "Do not use this checkpoint.",
            )
        return ensure_files(repo, commit, [file(path)]).json(path)

    try:
        place = _Place(str(name), names.__contains__, read, list(names), elsewhere)
        if name.file or name.variant:
            rule, chosen = _choose_file(place, rules, name)
        else:
            rule, chosen = _choose(place, rules)
    except WeightsError as error:
        if listing is None:  # the missing files may be on the Hub
            raise not_cached(f"All of {repo}@{revision}") from error
        raise
    if revision != commit:
        lock.record_pin(repo, revision, commit)
    return _card(
        rule,
        str(HubName(repo, name.revision, chosen[0] if rule.suffix else None)),
        HubWeights(repo, commit, tuple(file(path) for path in chosen)),
        license=(listing.license if listing else None) or "unknown",
        homepage=f"{endpoint()}/{repo}",
    )


def match_path(path: Path, rules: Sequence[CheckpointRule], elsewhere: Elsewhere = tuple) -> ModelCard:
    """Return a card for a folder with a checkpoint in it, or for a file that is a model by itself.

    Args:
        path: The folder or file; its absolute path becomes the card's id.
        rules: The rules to try; the first that matches is used.
        elsewhere: The rules of plugins that are not installed or enabled, to name one that would match.

    Raises:
        WeightsError: There is none, no rule matches it, or it has no weights that can be read.
    """
    path = Path(os.path.expanduser(path)).absolute()
    if os.path.isfile(path):
        return _match_file(path, rules, elsewhere)
    if not os.path.isdir(path):
        kind = "file" if _rule_for(path.name, rules) else "folder"
        raise WeightsError(
            f"There is no {kind} {path}.", "Check the path, or see the models by name: zoo list"
        )
    try:
        listed = sorted(os.listdir(path))
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror}.", "Make it readable.") from error
    if not listed:
        raise WeightsError(f"{path} is empty.", "Give a folder with weights and a config file.")
    place = _Place(
        str(path),
        lambda name: os.path.isfile(path / name),
        lambda name: read_json_object(path / name, str(path)),
        listed,
        elsewhere,
    )
    rule, chosen = _choose(place, rules)
    if rule.suffix:
        return _match_file(path / chosen[0], rules, elsewhere)
    return _card(rule, str(path), LocalWeights(path, chosen), license="unknown", homepage=None)


def _match_file(path: Path, rules: Sequence[CheckpointRule], elsewhere: Elsewhere) -> ModelCard:
    rule = next((rule for rule in rules if _ends(path.name, rule) and _holds(path, rule)), None)
    if rule is None:
        message = f"{path} is a file that no installed plugin runs."
        if remedy := next((told for rule, told in elsewhere() if _ends(path.name, rule)), None):
            raise WeightsError(message, remedy)
        raise WeightsError(
            message,
            "A model is a folder with weights and a config file. Convert the file to one: "
            f"zoo convert {path} -o FOLDER",
        )
    parts = parts_of(path.name)
    _require_parts(parts, lambda name: os.path.isfile(path.parent / name), str(path))
    weights = LocalWeights(path.parent, parts)
    return _card(rule, str(path.parent / parts[0]), weights, license="unknown", homepage=None)


@dataclass(frozen=True)
class _Place:
    """A repository or a folder that holds a checkpoint."""

    source: str
    has: Callable[[str], bool]
    read: Callable[[str], dict[str, Any]]
    """Return the JSON object in a file."""
    listed: Sequence[str]
    """The files at its top, or all of them."""
    elsewhere: Elsewhere
    seen: dict[str, dict[str, Any]] = field(default_factory=dict)
    """Configs that were read."""

    def config(self, name: str) -> dict[str, Any] | None:
        """Return the content of a config; None if there is no such file."""
        if name not in self.seen and self.has(name):
            self.seen[name] = self.read(name)
        return self.seen.get(name)


def _choose(place: _Place, rules: Sequence[CheckpointRule]) -> tuple[CheckpointRule, tuple[str, ...]]:
    """Return the first rule that matches, and the files to use: config, further files, weights."""
    if rule := next((rule for rule in rules if _fits(place, rule)), None):
        beside = [name for name in rule.files if place.has(name)]
        more = [stem for stem in rule.more_weights if any(place.has(stem + suffix) for suffix in FORMATS)]
        stems = [rule.weights, *((stem,) for stem in more)]
        weights = [name for each in stems for name in _weights(place, each)]
        return rule, tuple(dict.fromkeys([rule.config, *beside, *weights]))
    rules = [rule for rule in rules if not rule.keys]  # those are for a file that is named
    single = [name for name in place.listed if _is_whole(name) and _rule_for(name, rules)]
    if len(single) > 1:
        raise WeightsError(
            f"{place.source} has {len(single)} models: {some(single)}.",
            f"Name one: {place.source}/{single[0]}",
        )
    if single and (rule := _rule_for(single[0], rules)):
        return rule, _all_parts(place, single[0])
    raise _no_match(place)


def _choose_file(
    place: _Place, rules: Sequence[CheckpointRule], name: HubName
) -> tuple[CheckpointRule, tuple[str, ...]]:
    """Return the rule for a file of a repository, and the file with its other parts."""
    single = [each for each in place.listed if _is_whole(each) and (_rule_for(each, rules))]
    if name.file:
        found = [name.file] if place.has(name.file) else []
    else:
        found = [each for each in single if _variant_of(each).endswith(f"-{name.variant}".lower())]
    if len(found) == 1 and (rule := _rule_for(found[0], rules)):
        return rule, _all_parts(place, found[0])
    if not single and not found:
        raise _no_match(place)
    what = f"no file {name.file}" if name.file else f"{len(found) or 'no'} models named {name.variant}"
    shown = found or single
    raise WeightsError(
        f"hf:{name.repo} has {what}; it has {some(shown)}.",
        f"Name one of its files: {HubName(name.repo, name.revision, shown[0])}",
    )


def _variant_of(name: str) -> str:
    """Return a file's name without its suffix, in lower case and with dashes: ``-tiny-q4_k_m``."""
    return "-" + os.path.splitext(os.path.basename(without_part(name)))[0].replace(".", "-").lower()


def _is_whole(name: str) -> bool:
    """Return True for a file that names a model: the whole of it, or its first part."""
    return not os.path.basename(name).lower().startswith(_BESIDE) and name == parts_of(name)[0]


def _all_parts(place: _Place, name: str) -> tuple[str, ...]:
    _require_parts(parts_of(name), place.has, place.source)
    return parts_of(name)


def _require_parts(parts: Sequence[str], has: Callable[[str], bool], source: str) -> None:
    if missing := [part for part in parts if not has(part)]:
        raise WeightsError(
            f"{source} lacks {some(missing)}: the model has {len(parts)} parts.", "Get all of its parts."
        )


def _rule_for(name: str, rules: Sequence[CheckpointRule]) -> CheckpointRule | None:
    """Return the rule for a file that is a model by itself."""
    return next((rule for rule in rules if _ends(name, rule)), None)


def _ends(name: str, rule: CheckpointRule) -> bool:
    return rule.suffix is not None and name.lower().endswith(rule.suffix)


def _holds(path: Path, rule: CheckpointRule) -> bool:
    """Return True if a file holds the tensors that a rule names."""
    return not rule.keys or set(rule.keys) <= tensor_names(path)


def _fits(place: _Place, rule: CheckpointRule) -> bool:
    if rule.suffix or any(map(place.has, rule.without)):
        return False
    config = place.config(rule.config)
    return config is not None and rule.matches(config)


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


def _no_match(place: _Place) -> WeightsError:
    """Return the error that says what this is, and which plugin would run it."""
    held = [name for name in ("adapter_config.json", "model_index.json", "config.json") if place.has(name)]
    names = list(dict.fromkeys([*held, *place.listed]))
    message = f"No installed plugin runs {place.source}: it is {identify(names, place.read)}."
    for rule, told in place.elsewhere():
        single = any(_ends(name, rule) for name in names)
        if single or _fits(place, rule):
            return WeightsError(message, told)
    if base := base_of_adapter(names, place.read):
        return WeightsError(message, f"Give it to its base model: zoo run {base} --adapter {place.source}")
    if LORA in names:
        return WeightsError(message, f"Give it to its base model: zoo run MODEL --lora {place.source}")
    return WeightsError(
        message,
        "No other plugin is known to run it. See the models that run: zoo list --all"
        if held
        else _convert_remedy(place),
    )


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
