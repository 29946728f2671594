"""From what a user may call a model to its card; runs no plugin unless it announced models of its own."""

from __future__ import annotations

import os
from pathlib import Path

from zoo_core.catalog import Catalog
from zoo_core.manifest.cards import ModelCard
from zoo_core.plugins.host import PluginHost
from zoo_core.weights import match_folder, match_hub

HUB_PREFIX = "hf:"


def resolve(name: str | os.PathLike[str], catalog: Catalog, *, update: bool = False) -> ModelCard:
    """The card behind what a user may call a model; for a bare checkpoint, the card its config tells.

    With ``update``, a Hub repository is taken at its newest commit, and kept there from now on.
    """
    text = os.fspath(name)
    if text.startswith(HUB_PREFIX):
        repo, _, revision = text.removeprefix(HUB_PREFIX).partition("@")
        return match_hub(repo, revision or None, catalog.checkpoint_rules, update=update)
    if not isinstance(name, str) or os.sep in text or text in (".", ".."):
        # An alias may hold a slash (google/ddpm-cifar10-32) and so look like a path.
        if card := catalog.known_or_installed(text):
            return catalog.find(card.id)
        return match_folder(Path(text), catalog.checkpoint_rules)
    if catalog.known_or_installed(text) is None and (card := _listed_by_a_plugin(text, catalog)):
        return card
    return catalog.find(text)


def _listed_by_a_plugin(name: str, catalog: Catalog) -> ModelCard | None:
    """The card of that name which a plugin's running code knows, though no manifest does."""
    plugins = [p.name for p in catalog.plugins if p.status == "ok" and p.manifest and p.manifest.lists_models]
    host = PluginHost(catalog.plugins)
    cards = (card for plugin in plugins for cards in host.call(plugin, "zoo_list_models") for card in cards)
    return next((card for card in cards if name in (card.id, *card.aliases)), None)
