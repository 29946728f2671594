"""The classes of a model, read from its config.json before anything is loaded."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from zoo_core.data.classes import Classes
from zoo_core.errors import WeightsError
from zoo_core.manifest.cards import EmbeddedWeights, HubWeights, LocalWeights, ModelCard
from zoo_core.weights import lock
from zoo_core.weights.cache import cached_file
from zoo_core.weights.checkpoint import read_json_object
from zoo_core.weights.commits import DEFAULT_REVISION

OPTION = "label"
"""The option that selects a class."""
_CONFIG = "config.json"


def classes_of(card: ModelCard) -> Classes | None:
    """Return the classes that ``--label`` selects; None if a card has no such option or they are not known.

    They are known if config.json is on this machine, and says them: as ``class_names`` in its table ``zoo``
    (Classes.read), as ``id2label`` (transformers) or as ``num_class_embeds`` (diffusers).
    """
    if OPTION not in card.options:
        return None
    for path in _configs(card):
        try:
            config = read_json_object(path, card.id)
            if (found := _read(config, f"{card.id}: {path.name}")) is not None:
                return found
        except WeightsError:  # the plugin will say so
            continue
    return None


def _read(config: Mapping[str, Any], source: str) -> Classes | None:
    zoo, count = config.get("zoo"), config.get("num_class_embeds")
    count = count if type(count) is int and count > 0 else None
    if isinstance(zoo, dict) and (zoo.get("class_names") or count):
        return Classes.read(zoo, source, count)
    by_id = config.get("id2label")
    if isinstance(by_id, dict) and all(str(label) in by_id for label in range(len(by_id))):
        names = tuple(str(by_id[str(label)]) for label in range(len(by_id)))
        return Classes(len(names), names) if names else None
    return Classes(count) if count else None


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
