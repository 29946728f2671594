"""The classes of a model, read from its config.json before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from zoo_core.errors import WeightsError
from zoo_core.manifest.cards import EmbeddedWeights, HubWeights, LocalWeights, ModelCard
from zoo_core.weights import lock
from zoo_core.weights.cache import cached_file
from zoo_core.weights.checkpoint import read_json_object
from zoo_core.weights.commits import DEFAULT_REVISION

OPTION = "label"
"""The option that selects a class."""
_CONFIG = "config.json"


@dataclass(frozen=True)
class Labels:
    """The labels of a model: 0 to ``count`` − 1."""

    count: int
    names: tuple[str, ...] = ()
    """What they mean, in order; empty if the checkpoint does not say."""

    def in_words(self, most: int) -> str:
        """Return the range, and what the first ``most`` labels mean: ``0 to 9``, ``0 to 1: 0 cat, 1 dog``."""
        span = f"0 to {self.count - 1}"
        if not most or all(name == str(label) for label, name in enumerate(self.names)):
            return span
        named = ", ".join(f"{label} {name}" for label, name in enumerate(self.names[:most]))
        return f"{span}: {named}" + (", …" if self.count > most else "")


def labels_of(card: ModelCard) -> Labels | None:
    """Return the labels that a model knows; None if its card has no such option or they are not known.

    They are known if config.json is on this machine and says them: as ``class_names`` in its table ``zoo``,
    as ``id2label`` (transformers) or as ``num_class_embeds`` (diffusers).
    """
    if OPTION not in card.options:
        return None
    for path in _configs(card):
        try:
            config = read_json_object(path, card.id)
        except WeightsError:  # the plugin will say so
            continue
        if labels := _read(config):
            return labels
    return None


def _read(config: Mapping[str, Any]) -> Labels | None:
    zoo, by_id = _table(config, "zoo"), _table(config, "id2label")
    names = zoo.get("class_names") or [by_id.get(str(label)) for label in range(len(by_id))]
    if names and isinstance(names, list) and all(isinstance(name, str) for name in names):
        return Labels(len(names), tuple(names))
    count = config.get("num_class_embeds")
    if type(count) is not int or count < 1:
        return None
    has_null = zoo.get("null_class") not in (None, False)
    return Labels(count - has_null)


def _table(config: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = config.get(key)
    return value if isinstance(value, dict) else {}


def _configs(card: ModelCard) -> Iterator[Path]:
    weights = card.weights
    if isinstance(weights, EmbeddedWeights) and weights.folder:
        yield from sorted(weights.folder.rglob(_CONFIG))
    elif isinstance(weights, LocalWeights):
        yield from (weights.folder / name for name in weights.files if name.endswith(_CONFIG))
    elif isinstance(weights, HubWeights):
        commit = weights.revision or lock.read_pin(weights.repo, DEFAULT_REVISION)
        for file in weights.files if commit else ():
            if file.name.endswith(_CONFIG):
                yield cached_file(weights.repo, commit or "", file.name)
