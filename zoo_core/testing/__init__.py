"""What plugins' tests are built from: the conformance suite, a Hub on loopback, plugins made for a test.

``GeneratorConformance`` is inherited (:mod:`zoo_core.testing.conformance`). The fixtures ``isolated_home``,
``loopback_hub`` and ``plugin_site`` stand in :mod:`zoo_core.testing.fixtures` and
:mod:`zoo_core.testing.fixtures_plugins`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo_core.testing.plugins import embedded_models, write_plugin

if TYPE_CHECKING:
    from zoo_core.testing.conformance import GeneratorConformance

__all__ = ["GeneratorConformance", "embedded_models", "write_plugin"]


def __getattr__(name: str) -> Any:
    # The suite imports torch and pytest, which a test that merely lays down a plugin need not wait for.
    if name == "GeneratorConformance":
        from zoo_core.testing.conformance import GeneratorConformance

        return GeneratorConformance
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
