"""Fixtures that the core's tests share."""

from __future__ import annotations

from zoo_core.testing.fixtures import isolated_home, loopback_hub
from zoo_core.testing.fixtures_plugins import plugin_site

__all__ = ["isolated_home", "loopback_hub", "plugin_site"]
