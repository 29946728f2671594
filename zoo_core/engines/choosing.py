"""The engines there are, and building one from its options."""

from __future__ import annotations

import pkgutil
from collections.abc import Mapping
from typing import Any, cast

from zoo_core.engines.protocol import Engine
from zoo_core.environment import Environment
from zoo_core.errors import PluginError
from zoo_core.manifest.cards import EngineCard, Option
from zoo_core.manifest.reserved import LOCAL_ENGINE
from zoo_core.plugins.host import plugin_errors

_DEVICES = Option("devices", "string", "The devices, one process each: 0,1 for CUDA devices, cpu:2.", "cpu:1")
LOCAL = EngineCard(
    LOCAL_ENGINE,
    "zoo-core",
    "processes of this machine, one for each device",
    "zoo_core.engines.local:LocalEngine",
    {_DEVICES.name: _DEVICES},
)


def engines() -> Mapping[str, EngineCard]:
    """Return the engines by name, without importing any plugin."""
    return {LOCAL.name: LOCAL, **Environment.current().catalog.engines}


def find_engine(name: str) -> EngineCard:
    """Return the card of an engine.

    Raises:
        PluginError: There is none of that name; names the plugin that has it.
    """
    known = engines()
    if name in known:
        return known[name]
    for entry in Environment.current().catalog.entries.values():
        if any(engine.name == name for engine in entry.manifest.engines):
            raise PluginError(
                f"The engine {name} belongs to the plugin {entry.name}, which cannot be used here.",
                f"Install it: zoo install {entry.name}; if it is installed: zoo doctor",
            )
    raise PluginError(f"There is no engine {name!r}.", f"There are: {', '.join(known)}.")


def create_engine(name: str, options: Mapping[str, Any]) -> Engine:
    """Build an engine; options that are left out have their defaults.

    Raises:
        ZooError: There is no such engine, it refuses an option, or its plugin cannot be loaded.
    """
    card = find_engine(name)
    if card is not LOCAL:
        Environment.current().host.load(card.plugin)
    values = {
        key: option.check(given) if (given := options.get(key)) is not None else option.default
        for key, option in card.options.items()
    }
    with plugin_errors(card.plugin, f"starting its engine {name}", "Run again with --debug."):
        return cast("Engine", pkgutil.resolve_name(card.target)(**values))
