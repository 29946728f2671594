"""Check the name of a new plugin, and derive the other names from it."""

from __future__ import annotations

import importlib.util
import keyword
import re
from dataclasses import dataclass

from zoo_core.catalog import Catalog
from zoo_core.errors import PluginError

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""A distribution name, normalised as in PEP 503; it begins with a letter, as its package must."""
LONGEST = 60


@dataclass(frozen=True)
class Names:
    """The name of a plugin, and the names derived from it."""

    plugin: str
    """Name of the distribution, the entry point and the folder: ``zoo-cat-faces``."""

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
    """Return the names derived from a plugin's name.

    Raises:
        PluginError: The name is invalid or taken.
    """
    if not _NAME.fullmatch(name) or len(name) > LONGEST or keyword.iskeyword(name):
        shown = name if len(name) <= LONGEST else name[:LONGEST] + "…"
        raise PluginError(
            f"{shown!r} is not a valid plugin name.",
            f"Give at most {LONGEST} lower-case letters, digits and single dashes, such as zoo-mymodel.",
        )
    names = Names(name)
    known = {plugin.name for plugin in catalog.plugins} | set(catalog.entries)
    if name in known:
        raise PluginError(f"A plugin named {name} already exists.", "Choose another name.")
    if importlib.util.find_spec(names.module) is not None:
        raise PluginError(
            f"The package of {name} would be named {names.module}, like an installed package.",
            "Choose another name, such as one that begins with zoo-.",
        )
    if (card := catalog.known_or_installed(names.model)) or names.model in catalog.trainers:
        owner = card.plugin if card else catalog.trainers[names.model].plugin
        raise PluginError(
            f"The model of {name} would be named {names.model}, like a model of {owner}.",
            "Choose another name.",
        )
    return names
