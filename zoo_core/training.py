"""What a plugin that trains needs from the core: the families there are, and fresh networks of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo_core.catalog import Catalog
from zoo_core.errors import OptionError, PluginError
from zoo_core.manifest.cards import TrainerCard
from zoo_core.plugins.host import PluginHost
from zoo_core.protocols import Options, Trainable, TrainingData


def trainers() -> Mapping[str, TrainerCard]:
    """The families that the installed plugins can train, by name; imports none of them."""
    return Catalog.read().trainers


def create_trainable(trainer: TrainerCard, options: Mapping[str, Any], data: TrainingData) -> Trainable:
    """Have the plugin that owns ``trainer`` build fresh networks.

    Args:
        trainer: One of :func:`trainers`.
        options: Values by option name; those left out take their defaults.
        data: What the data look like.

    Raises:
        OptionError: An option that does not exist, or a value it does not take.
        PluginError: The plugin cannot be loaded, or fails.
    """
    unknown = next((name for name in options if name not in trainer.options), None)
    if unknown is not None:
        raise OptionError(
            f"The trainer {trainer.name} has no option {unknown!r}.",
            f"See its options: zoo train {trainer.name} --help",
        )
    values = {
        name: option.check(options.get(name, option.default)) for name, option in trainer.options.items()
    }
    trainable = PluginHost(Catalog.read().plugins).call(
        trainer.plugin, "zoo_create_trainable", trainer=trainer, options=Options(**values), data=data
    )
    if not isinstance(trainable, Trainable):
        raise PluginError(
            f"{trainer.plugin} made nothing to train for {trainer.name}, but {trainable!r}.",
            "Tell the plugin's author: zoo_create_trainable must return networks, losses() and save().",
        )
    return trainable
