"""The environment: the catalog and the plugin host of a command, read once.

:func:`zoo_core.load` and the functions beside it use the current environment. The command line shares one
environment within a command, also with the commands of plugins. Elsewhere each call reads it anew, so that a
plugin that was just installed is found.
"""

from __future__ import annotations

import os
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from zoo_core.catalog import Catalog
from zoo_core.errors import OptionError, PluginError, RepositoryError, WeightsError
from zoo_core.manifest.cards import CheckpointRule, ExtractorCard, ModelCard, TrainerCard
from zoo_core.plugins.host import PluginHost, plugin_errors

if TYPE_CHECKING:
    import torch

    from zoo_core.protocols import (
        Extractor,
        TextExtractor,
        TokenMasks,
        Trainable,
        TrainingData,
        Vocabulary,
    )
    from zoo_core.running.model import Model
    from zoo_core.weights import Checkpoint

_shared: ContextVar[list[Environment] | None] = ContextVar("shared environment", default=None)
"""The environment of the running command, empty until it is first used; None outside of a command."""


@dataclass(frozen=True)
class Environment:
    """The catalog of this Python environment, and a host for its plugins."""

    catalog: Catalog

    @classmethod
    def read(cls) -> Environment:
        """Read the manifests of the installed plugins."""
        return cls(Catalog.read())

    @classmethod
    def current(cls) -> Environment:
        """Return the environment of the running command, or read one."""
        shared = _shared.get()
        if shared is None:
            return cls.read()
        if not shared:
            shared.append(cls.read())
        return shared[0]

    @cached_property
    def host(self) -> PluginHost:
        """The plugin host, which imports a plugin when it is first needed."""
        return PluginHost(self.catalog.plugins)

    def resolve(self, name: str | os.PathLike[str], *, update: bool = False) -> ModelCard:
        """Return the card of a model by any name that a user may give it.

        Args:
            name: A local file or folder, a card's id or alias, or a Hub repository: ORG/REPO[@REVISION],
                ``hf:ORG/REPO[@REVISION]``, or its address. What exists here comes first. A bare checkpoint
                gets the card that its config.json calls for.
            update: Pin a Hub repository to its newest commit.

        Raises:
            ZooError: There is no such model, or no plugin recognises the checkpoint.
        """
        from zoo_core.weights import match_hub, match_path, parse_hub_name
        from zoo_core.weights.names import is_explicit

        catalog, text = self.catalog, os.fspath(name)
        rules, elsewhere = catalog.checkpoint_rules, catalog.rules_elsewhere
        local = not isinstance(name, str) or text.startswith((os.sep, ".", "~"))
        if local or (not is_explicit(text) and _is_local(text, rules)):
            return match_path(Path(text), rules, elsewhere)
        if catalog.known_or_installed(text):
            return catalog.find(text)
        if hub_name := parse_hub_name(text):
            try:
                return match_hub(hub_name, rules, elsewhere, update=update)
            except RepositoryError as error:
                if is_explicit(text):
                    raise
                raise WeightsError(
                    f"There is no folder {text} here. {error.message}", error.remedy
                ) from error
        if os.sep in text:
            return match_path(Path(text), rules, elsewhere)
        if listed := self._listed_by_a_plugin(text):
            return listed
        return catalog.find(text)

    def _listed_by_a_plugin(self, name: str) -> ModelCard | None:
        """Ask the plugins that list models in code, not in their manifests, for a card of that name."""
        for plugin in self.catalog.plugins:
            if plugin.status == "ok" and plugin.manifest and plugin.manifest.lists_models:
                for cards in self.host.call(plugin.name, "zoo_list_models"):
                    for card in cards:
                        if name in (card.id, *card.aliases):
                            return cast("ModelCard", card)
        return None

    def load(
        self,
        model: str | os.PathLike[str] | ModelCard,
        *,
        device: str = "auto",
        dtype: str = "auto",
        adapter: str | os.PathLike[str] | None = None,
        announce: Callable[[str], object] = lambda doing: None,
    ) -> Model:
        """Make a model ready to run, as :func:`load` does; ``announce`` is called with what begins."""
        from zoo_core.running.loading import load_card

        card = model if isinstance(model, ModelCard) else self.resolve(model)
        return load_card(
            card,
            self.catalog.plugins,
            self.host,
            device=device,
            dtype=dtype,
            adapter=adapter,
            announce=announce,
        )

    def check_config(
        self, card: ModelCard, checkpoint: Checkpoint, read: Callable[[str, int, int], bytes]
    ) -> None:
        """Have the card's plugin refuse a checkpoint by its small files, as far as it can."""
        from zoo_core.running.loading import check_config

        check_config(self.host, card, checkpoint, read)

    def trainable(self, trainer: TrainerCard, options: Mapping[str, Any], data: TrainingData) -> Trainable:
        """Have a plugin build networks to train, as :func:`create_trainable` does."""
        from zoo_core.protocols import Options, Trainable

        unknown = next((name for name in options if name not in trainer.options), None)
        if unknown is not None:
            raise OptionError(
                f"The trainer {trainer.name} has no option {unknown!r}.",
                f"See its options: zoo train {trainer.name} --help",
            )
        values = {
            name: option.check(options.get(name, option.default)) for name, option in trainer.options.items()
        }
        trainable = self.host.call(
            trainer.plugin, "zoo_create_trainable", trainer=trainer, options=Options(**values), data=data
        )
        if not isinstance(trainable, Trainable):
            raise PluginError(
                f"{trainer.plugin}: zoo_create_trainable returned no Trainable for {trainer.name}, "
                f"but {trainable!r}.",
                "Tell the plugin's author: it must return networks, losses() and save().",
            )
        return trainable

    def token_masks(self, language: str, source: str, vocabulary: Vocabulary) -> TokenMasks:
        """Have a plugin make a constraint, as :func:`create_token_masks` does."""
        plugins = [
            plugin.name
            for plugin in self.catalog.plugins
            if plugin.status == "ok" and plugin.manifest and language in plugin.manifest.constraints
        ]
        masks = self.host.call_first(
            plugins, "zoo_create_token_masks", language=language, source=source, vocabulary=vocabulary
        )
        if masks is None:
            raise OptionError(
                f"No installed plugin reads this constraint in the language {language}.",
                "Find one that does: zoo search constraint",
            )
        return cast("TokenMasks", masks)

    def extractor(self, card: ExtractorCard, device: torch.device) -> Extractor | TextExtractor:
        """Have a plugin build an extractor, as :func:`create_extractor` does."""
        from zoo_core.weights import get_checkpoint

        self.host.load(card.plugin)
        checkpoint = get_checkpoint(card) if card.weights else None
        with plugin_errors(card.plugin, f"building its extractor {card.name}", "Run again with --debug."):
            return cast("Extractor | TextExtractor", pkgutil.resolve_name(card.target)(checkpoint, device))

    def convert(self, path: Path, folder: Path) -> str:
        """Convert a foreign checkpoint into a new folder; return the name of the plugin that did it."""
        from zoo_core.weights.conversion import convert

        return convert(path, self.host.converters(path), folder)


def _is_local(text: str, rules: Sequence[CheckpointRule]) -> bool:
    """Return True for a folder that a path leads to, and for a file that is a model by itself."""
    if os.sep in text:
        return os.path.exists(text)
    return any(rule.suffix and text.lower().endswith(rule.suffix) for rule in rules)


@contextmanager
def shared_environment() -> Iterator[None]:
    """Within this block, read the environment once, when it is first used."""
    token = _shared.set([])
    try:
        yield
    finally:
        _shared.reset(token)


def load(
    model: str | os.PathLike[str] | ModelCard,
    *,
    device: str = "auto",
    dtype: str = "auto",
    adapter: str | os.PathLike[str] | None = None,
) -> Model:
    """Make a model ready to run. Its weights are downloaded if they are not on this machine.

    Args:
        model: A local file or folder, a card's id or alias, a Hub repository as ORG/REPO[@REVISION],
            ``hf:ORG/REPO[@REVISION]`` or its address, or a card.
        device: ``auto`` (CUDA, else Apple's MPS, else the CPU) or a torch device such as ``cuda:1``.
        dtype: ``auto`` (the plugin picks what is fast and safe), float32, bfloat16, float16, float64, or, for
            plugins that support it, int8.
        adapter: A LoRA in the layout of ``peft`` to merge into the weights: a folder, or a Hub repository.

    Raises:
        ZooError: Anything a user can act on, from a misspelt name to a full disk.
    """
    return Environment.current().load(model, device=device, dtype=dtype, adapter=adapter)


def models() -> Mapping[str, ModelCard]:
    """Return the cards of the installed plugins by id, without importing any plugin."""
    return Environment.current().catalog.models


def resolve(name: str) -> ModelCard:
    """Return the card of a model by any name that :func:`load` takes, without loading it.

    Raises:
        ZooError: There is no such model, or no plugin recognises the checkpoint.
    """
    return Environment.current().resolve(name)


def trainers() -> Mapping[str, TrainerCard]:
    """Return the trainers of the installed plugins by name, without importing any plugin."""
    return Environment.current().catalog.trainers


def create_trainable(trainer: TrainerCard, options: Mapping[str, Any], data: TrainingData) -> Trainable:
    """Have the plugin that owns ``trainer`` build freshly initialised networks.

    Args:
        trainer: One of :func:`trainers`.
        options: Values by option name; those left out take their defaults.
        data: The kind, size and classes of the data.

    Raises:
        OptionError: An option that does not exist, or a value it does not take.
        PluginError: The plugin cannot be loaded, or fails.
    """
    return Environment.current().trainable(trainer, options, data)


def create_token_masks(language: str, source: str, vocabulary: Vocabulary) -> TokenMasks:
    """Have a plugin make a constraint on the texts of a language model.

    Args:
        language: ``json_schema``, ``regex``, ``grammar``, or another that an installed plugin announces.
        source: The schema, the expression, the grammar.
        vocabulary: The tokens of the model.

    Returns:
        A function that returns the mask of one more text.

    Raises:
        OptionError: The source is wrong, or no installed plugin reads it.
    """
    return Environment.current().token_masks(language, source, vocabulary)


def extractors() -> Mapping[str, ExtractorCard]:
    """Return the feature extractors of the installed plugins by name, without importing any plugin."""
    return Environment.current().catalog.extractors


def create_extractor(card: ExtractorCard, device: torch.device) -> Extractor | TextExtractor:
    """Have the plugin that owns ``card`` build the extractor. Missing weights are downloaded.

    The plugin's target is called with the verified checkpoint (None where the card has no weights) and the
    device to compute on.

    Raises:
        ZooError: The plugin cannot be loaded or fails, or the weights are not available.
    """
    return Environment.current().extractor(card, device)
