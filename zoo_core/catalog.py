"""The catalog: cards by id, alias and glob, near misses, and models that are known but not installed."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, cached_property

from zoo_core.errors import CatalogError, PluginError, ZooError, near_misses, some
from zoo_core.manifest.cards import (
    CheckpointRule,
    CommandCard,
    EngineCard,
    ExtractorCard,
    Manifest,
    ModelCard,
    TrainerCard,
)
from zoo_core.plugins.discovery import InstalledPlugin, installed_plugins
from zoo_core.registry import Entry, Registry, registries


@dataclass(frozen=True)
class Catalog:
    """The models, trainers, extractors and commands of the installed plugins, and what registries list."""

    plugins: Sequence[InstalledPlugin]
    read_registries: Callable[[], Sequence[Registry]] = tuple
    """Called once, when something that is not installed is first asked for."""

    @classmethod
    def read(cls) -> Catalog:
        """Read the manifests of the installed plugins; the registries are read when they are needed."""
        read = cache(registries)

        def listed() -> set[str]:
            with suppress(ZooError):  # zoo doctor reports it
                return {entry.name for registry in read() for entry in registry.entries}
            return set()

        return cls(installed_plugins(listed), read)

    @cached_property
    def registries(self) -> Sequence[Registry]:
        """Every registry, by precedence."""
        return self.read_registries()

    @cached_property
    def entries(self) -> dict[str, Entry]:
        """Entries of the registries by plugin; the first of several entries for one plugin counts."""
        found: dict[str, Entry] = {}
        for registry in self.registries:
            for entry in registry.entries:
                found.setdefault(entry.name, entry)
        return found

    @cached_property
    def _healthy(self) -> list[Manifest]:
        return [p.manifest for p in self.plugins if p.status == "ok" and p.manifest is not None]

    @cached_property
    def models(self) -> dict[str, ModelCard]:
        """Cards of the installed plugins that can be run, by id."""
        return {card.id: card for manifest in self._healthy for card in manifest.models}

    @cached_property
    def known(self) -> dict[str, ModelCard]:
        """Cards of the registries' plugins that are not installed, by id."""
        installed = {plugin.name for plugin in self.plugins}
        found: dict[str, ModelCard] = {}
        for entry in self.entries.values():
            if entry.name not in installed:
                for card in entry.manifest.models:
                    if card.id not in self.models:
                        found.setdefault(card.id, card)
        return found

    @property
    def checkpoint_rules(self) -> list[CheckpointRule]:
        """Rules that recognise checkpoints without a card, by plugin name."""
        return [rule for manifest in self._healthy for rule in manifest.checkpoints]

    def rules_elsewhere(self) -> list[tuple[CheckpointRule, str]]:
        """Return the rules of plugins that cannot be used now, each with what to do to use its plugin."""
        installed = {plugin.name: plugin for plugin in self.plugins}
        unused = [
            (rule, f"{plugin.name} runs it. {_remedy(plugin)}")
            for plugin in self.plugins
            if plugin.status != "ok" and (manifest := self._manifest_of(plugin))
            for rule in manifest.checkpoints
        ]
        known = [
            (rule, f"{entry.name} runs it. Install it: zoo install {entry.name}")
            for entry in self.entries.values()
            if entry.name not in installed
            for rule in entry.manifest.checkpoints
        ]
        return [*unused, *known]

    @property
    def commands(self) -> dict[str, CommandCard]:
        """Commands of plugins, by name."""
        return {command.name: command for manifest in self._healthy for command in manifest.commands}

    @property
    def trainers(self) -> dict[str, TrainerCard]:
        """Trainers, by name."""
        return {trainer.name: trainer for manifest in self._healthy for trainer in manifest.trainers}

    @property
    def extractors(self) -> dict[str, ExtractorCard]:
        """Feature extractors, by name."""
        return {extractor.name: extractor for manifest in self._healthy for extractor in manifest.extractors}

    @property
    def engines(self) -> dict[str, EngineCard]:
        """Engines of plugins, by name."""
        return {engine.name: engine for manifest in self._healthy for engine in manifest.engines}

    def match(
        self,
        pattern: str | None = None,
        *,
        everything: bool = False,
        output: str | None = None,
        plugin: str | None = None,
    ) -> list[ModelCard]:
        """Return the cards that a pattern matches, sorted by id.

        Args:
            pattern: A glob of ids and aliases (``*faces*``). A word without wildcards matches anywhere in a
                card's name, summary, family, output or plugin. None matches everything.
            everything: Include models whose plugin is not installed.
            output: Keep only models that make this (``image``, ``text``).
            plugin: Keep only models of this plugin.
        """
        cards = [*self.models.values(), *(self.known.values() if everything else ())]
        matches = _matcher(pattern) if pattern else None
        return sorted(
            (
                card
                for card in cards
                if (output is None or card.output == output)
                and (plugin is None or card.plugin == plugin)
                and (matches is None or matches(card))
            ),
            key=lambda card: card.id,
        )

    def search(self, words: Iterable[str]) -> list[ModelCard]:
        """Return the cards, installed or not, with every word in name, summary, family, output or plugin."""
        wanted = [word.lower() for word in words]
        return [
            card for card in self.match(everything=True) if all(word in _searched(card) for word in wanted)
        ]

    def find(self, name: str) -> ModelCard:
        """Return the card with this id or alias, ignoring case.

        Raises:
            CatalogError: None can be run; names the plugin that would provide it, or similar names.
        """
        if card := self.known_or_installed(name):
            if card.id in self.models:
                return card
            raise CatalogError(
                f"{name} is provided by {card.plugin}, which is not installed.",
                f"Install it: zoo install {card.plugin}",
            )
        raise self._missing(name)

    def known_or_installed(self, name: str) -> ModelCard | None:
        """Return the card with this id or alias, installed or not; None if there is none."""
        for cards in (self.models, self.known):
            for card in cards.values():
                if _goes_by(card, name):
                    return card
        return None

    @property
    def broken(self) -> list[InstalledPlugin]:
        """Installed plugins that cannot be used, so that their models are missing."""
        return [plugin for plugin in self.plugins if plugin.status == "broken"]

    def missing_command(self, name: str) -> PluginError | None:
        """Return the error for a command of a plugin that cannot be used; None if no plugin has it."""
        for plugin in self.plugins:
            manifest = self._manifest_of(plugin) if plugin.status != "ok" else None
            if manifest and any(command.name == name for command in manifest.commands):
                return PluginError(
                    f"zoo {name} belongs to the plugin {plugin.name}, which is {plugin.status}.",
                    _remedy(plugin),
                )
        for entry in self.entries.values():
            if any(command.name == name for command in entry.manifest.commands):
                return PluginError(
                    f"zoo {name} belongs to the plugin {entry.name}, which is not installed.",
                    f"Install it: zoo install {entry.name}",
                )
        return None

    def _manifest_of(self, plugin: InstalledPlugin) -> Manifest | None:
        """Return an installed plugin's manifest; if it is unreadable, the one that a registry lists."""
        entry = None if plugin.manifest else self.entries.get(plugin.name)
        return entry.manifest if entry else plugin.manifest

    def _missing(self, name: str) -> CatalogError:
        for plugin in self.plugins:
            manifest = self._manifest_of(plugin) if plugin.status != "ok" else None
            if manifest and any(_goes_by(card, name) for card in manifest.models):
                return CatalogError(
                    f"{name} is provided by {plugin.name}, which is {plugin.status}.", _remedy(plugin)
                )
        cards = (*self.models.values(), *self.known.values())
        names = {each.lower(): each for card in cards for each in _names(card)}
        near = [names[match] for match in near_misses(name.lower(), names, n=3, cutoff=0.5)]
        unread = [plugin.name for plugin in self.broken if self._manifest_of(plugin) is None]
        without = f", or the broken plugin {some(unread)} has it" if unread else ""
        return CatalogError(
            f"There is no model called {name!r}{without}.",
            f"Did you mean {' or '.join(near)}? Otherwise see: zoo list --all"
            if near
            else "See what is wrong: zoo doctor"
            if unread
            else "See all models: zoo list --all",
        )


def _names(card: ModelCard) -> tuple[str, ...]:
    return (card.id, *card.aliases)


def _matcher(pattern: str) -> Callable[[ModelCard], bool]:
    wanted = pattern.lower()
    if not any(sign in wanted for sign in "*?["):
        return lambda card: wanted in _searched(card)
    fits = re.compile(fnmatch.translate(wanted)).match
    return lambda card: any(fits(name.lower()) for name in _names(card))


def _searched(card: ModelCard) -> str:
    """Return the text of a card in which words are looked for."""
    return " ".join((*_names(card), card.summary, card.family, card.output, card.plugin)).lower()


def _remedy(plugin: InstalledPlugin) -> str:
    disabled = plugin.status == "disabled"
    return f"Enable it: zoo enable {plugin.name}" if disabled else "See what is wrong: zoo doctor"


def _goes_by(card: ModelCard, name: str) -> bool:
    return name.lower() in (each.lower() for each in _names(card))
