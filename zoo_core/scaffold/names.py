"""The name of a new plugin: what it must be, and what follows from it."""

from __future__ import annotations

import importlib.util
import keyword
import re
from dataclasses import dataclass

from zoo_core.catalog import Catalog
from zoo_core.errors import PluginError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""A distribution's name as PEP 503 normalizes it; it begins with a letter, for its package's name must."""
LONGEST = 60


@dataclass(frozen=True)
class Names:
    """A plugin's name, and those that follow from it."""

    plugin: str
    """Of the distribution, the entry point and the folder: ``zoo-cat-faces``."""

    @property
    def module(self) -> str:
        """The package: ``zoo_cat_faces``."""
        return self.plugin.replace("-", "_")

    @property
    def model(self) -> str:
        """The id of its model: ``cat-faces``."""
        return self.plugin.removeprefix("zoo-")

    @property
    def type(self) -> str:
        """The class of its generator: ``CatFaces``."""
        joined = "".join(part.capitalize() for part in self.model.split("-"))
        return joined if joined.isidentifier() else f"Model{joined}"


def check_name(name: str, catalog: Catalog) -> Names:
    """The names that follow from a plugin's, if it can be had.

    Raises:
        PluginError: It cannot be a plugin's name, or somebody has it.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(name):
        shown = name if len(name) <= LONGEST else name[:LONGEST] + "…"
        raise PluginError(
            f"{shown!r} cannot be the name of a plugin.",
            f"Give at most {LONGEST} lower-case letters, digits and single dashes, such as zoo-mymodel.",
        )
    names = Names(name)
    known = {plugin.name for plugin in catalog.plugins} | set(catalog.entries)
    if name in known:
        raise PluginError(f"There is a plugin called {name} already.", "Choose another name.")
    if importlib.util.find_spec(names.module) is not None:
        raise PluginError(
            f"The package of {name} would be called {names.module}, as one that is installed.",
            "Choose another name, such as one that begins with zoo-.",
        )
    if (card := catalog.known_or_installed(names.model)) or names.model in catalog.trainers:
        owner = card.plugin if card else catalog.trainers[names.model].plugin
        raise PluginError(
            f"The model of {name} would be called {names.model}, as one of {owner}.", "Choose another name."
        )
    return names
