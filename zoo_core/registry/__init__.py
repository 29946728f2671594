"""Registries: the plugins that can be installed, and where each is installed from.

A registry is a TOML file with one ``[[manifest]]`` table per plugin: a whole ``zoo.toml`` and
``[manifest.package]``. One is built into the core; others are listed in ``config.toml`` in the zoo's folder.
A registry is data: nothing in it is executed.
"""

from __future__ import annotations

from zoo_core.registry.configuration import (
    BUILT_IN,
    built_in_file,
    config_file,
    configured,
    refresh,
    registries,
)
from zoo_core.registry.entries import Entry, Package, Registry, read_registry

__all__ = [
    "BUILT_IN",
    "Entry",
    "Package",
    "Registry",
    "built_in_file",
    "config_file",
    "configured",
    "read_registry",
    "refresh",
    "registries",
]
