"""The core's conformance suite, on the plugin and on its models."""

from __future__ import annotations

from zoo_core.testing import GeneratorConformance, PluginConformance


class TestPlugin(PluginConformance):
    plugin = "zoo-toy2d"


class TestFlow(GeneratorConformance):
    model = "toy2d-flow"


class TestGAN(GeneratorConformance):
    model = "toy2d-gan"


class TestDiffusion(GeneratorConformance):
    model = "toy2d-diffusion"
