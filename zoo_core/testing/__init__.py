"""Test tools for plugins: the conformance suite, a Hub on loopback, and plugins written for a test.

Inherit ``GeneratorConformance`` and ``PluginConformance`` (:mod:`zoo_core.testing.conformance`). The fixtures
``isolated_home``, ``loopback_hub`` and ``plugin_site`` are in :mod:`zoo_core.testing.fixtures`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo_core.testing.plugins import embedded_models, write_plugin

if TYPE_CHECKING:
    from zoo_core.testing.conformance.suite import GeneratorConformance, PluginConformance

__all__ = ["GeneratorConformance", "PluginConformance", "embedded_models", "write_plugin"]


def __getattr__(name: str) -> Any:
    # The suite imports torch and pytest, which a test that only writes a plugin does not need.
    if name in ("GeneratorConformance", "PluginConformance"):
        from zoo_core.testing.conformance import suite

        return getattr(suite, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
