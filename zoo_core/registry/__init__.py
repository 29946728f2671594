"""Registries: what plugins there are beyond the installed ones, and where each is installed from.

A registry is a TOML file with a ``[[manifest]]`` table a plugin: a whole ``zoo.toml``, and beside it
``[manifest.package]``. One is built into the core; others are named in ``config.toml`` in the zoo's own
folder. All of it is data: nothing that a registry says is ever executed.
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
