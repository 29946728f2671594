"""All cards: look up by id, alias and glob; near misses; what is known but not installed."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from zoo_core.card import (
    CheckpointRule,
    CommandCard,
    ExtractorCard,
    Manifest,
    ModelCard,
    TrainerCard,
    read_manifest,
)
from zoo_core.errors import CardError, CatalogError
from zoo_core.manifest import InstalledPlugin, installed_plugins, read_toml


@dataclass(frozen=True)
class Catalog:
    """What the installed plugins provide, and what the registry knows beyond that."""

    plugins: Sequence[InstalledPlugin]
    registry: Sequence[Manifest] = ()

    @classmethod
    def read(cls) -> Catalog:
        """The catalog of this environment."""
        return cls(installed_plugins(), read_registry(registry_file()))

    @cached_property
    def _healthy(self) -> list[Manifest]:
        return [p.manifest for p in self.plugins if p.status == "ok" and p.manifest is not None]

    @cached_property
    def models(self) -> dict[str, ModelCard]:
        """Cards that can be run, by id."""
        return {card.id: card for manifest in self._healthy for card in manifest.models}

    @cached_property
    def known(self) -> dict[str, ModelCard]:
        """Cards of the registry's plugins that are not installed, by id."""
        installed = {plugin.name for plugin in self.plugins}
        absent = (manifest for manifest in self.registry if manifest.name not in installed)
        cards = (card for manifest in absent for card in manifest.models)
        return {card.id: card for card in cards if card.id not in self.models}

    @property
    def checkpoint_rules(self) -> list[CheckpointRule]:
        """How checkpoints without a card are recognised, in the order in which plugins sort."""
        return [rule for manifest in self._healthy for rule in manifest.checkpoints]

    @property
    def commands(self) -> dict[str, CommandCard]:
        """The verbs that plugins bring, by name."""
        return {command.name: command for manifest in self._healthy for command in manifest.commands}

    @property
    def trainers(self) -> dict[str, TrainerCard]:
        """The families that can be trained, by name."""
        return {trainer.name: trainer for manifest in self._healthy for trainer in manifest.trainers}

    @property
    def extractors(self) -> dict[str, ExtractorCard]:
        """The networks that make features of samples, by name."""
        return {extractor.name: extractor for manifest in self._healthy for extractor in manifest.extractors}

    def match(
        self,
        pattern: str | None = None,
        *,
        everything: bool = False,
        output: str | None = None,
        plugin: str | None = None,
    ) -> list[ModelCard]:
        """Cards whose id or an alias fits a glob (``*faces*``), sorted by id.

        Args:
            pattern: A glob; a word without wildcards fits anywhere in the name. None fits everything.
            everything: Include models whose plugin is not installed.
            output: Keep only models that make this (``image``, ``text``).
            plugin: Keep only models of this plugin.
        """
        cards = [*self.models.values(), *(self.known.values() if everything else ())]
        if pattern and not any(sign in pattern for sign in "*?["):
            pattern = f"*{pattern}*"
        return sorted(
            (
                card
                for card in cards
                if (output is None or card.output == output)
                and (plugin is None or card.plugin == plugin)
                and (
                    pattern is None or any(fnmatch.fnmatch(n.lower(), pattern.lower()) for n in _names(card))
                )
            ),
            key=lambda card: card.id,
        )

    def search(self, words: Iterable[str]) -> list[ModelCard]:
        """Cards, installed or not, in which every word occurs in name, summary, family or plugin."""
        wanted = [word.lower() for word in words]
        return [
            card
            for card in self.match(everything=True)
            if all(
                word in " ".join((*_names(card), card.summary, card.family, card.output, card.plugin)).lower()
                for word in wanted
            )
        ]

    def find(self, name: str) -> ModelCard:
        """The card with this id or alias, upper and lower case alike.

        Raises:
            CatalogError: There is none that can be run; says who would provide it, or what is near.
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
        """The card with this id or alias, installed or not; None if there is none."""
        for cards in (self.models, self.known):
            for card in cards.values():
                if _goes_by(card, name):
                    return card
        return None

    def _missing(self, name: str) -> CatalogError:
        for plugin in self.plugins:
            manifest = plugin.manifest or next((m for m in self.registry if m.name == plugin.name), None)
            if plugin.status == "ok" or manifest is None:
                continue
            if any(_goes_by(card, name) for card in manifest.models):
                return CatalogError(
                    f"{name} is provided by {plugin.name}, which is {plugin.status}.",
                    f"Enable it: zoo enable {plugin.name}"
                    if plugin.status == "disabled"
                    else "See what is wrong with it: zoo doctor",
                )
        import difflib  # slow to import, and good for errors alone

        cards = (*self.models.values(), *self.known.values())
        names = {each.lower(): each for card in cards for each in _names(card)}
        near = [names[match] for match in difflib.get_close_matches(name.lower(), names, n=3, cutoff=0.5)]
        return CatalogError(
            f"There is no model called {name!r}.",
            f"Did you mean {' or '.join(near)}? Otherwise see: zoo list --all"
            if near
            else "See which there are: zoo list --all",
        )


def registry_file() -> Path:
    """The index of known plugins: inside an installed package, at the top of a checkout."""
    package = Path(__file__).parent
    inside = package / "registry.toml"
    return inside if inside.is_file() else package.parent / "registry.toml"


def read_registry(path: Path) -> tuple[Manifest, ...]:
    """The manifests in an index file: each a table ``[[manifest]]`` in the manifest's own schema."""
    document = read_toml(path)
    entries = document.get("manifest", [])
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise CardError(f"{path}: manifest: expected tables written [[manifest]].", "Correct that file.")
    return tuple(read_manifest(entry, path, folder=None) for entry in entries)


def _names(card: ModelCard) -> tuple[str, ...]:
    return (card.id, *card.aliases)


def _goes_by(card: ModelCard, name: str) -> bool:
    return name.lower() in (each.lower() for each in _names(card))
