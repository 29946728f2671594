"""The core's conformance suite, on the plugin and on the faces."""

from __future__ import annotations

from zoo_core.testing import GeneratorConformance, PluginConformance


class TestPlugin(PluginConformance):
    plugin = "zoo-dcgan"


class TestFaces(GeneratorConformance):
    model = "dcgan-faces"
