"""The core's conformance suite on small random pipelines."""

from __future__ import annotations

from pathlib import Path

import pytest
from pipelines import caption_to_image, dit, saved, stable_diffusion, stable_diffusion_3

import zoo_core as zoo
from zoo_core.testing import GeneratorConformance, PluginConformance

pytestmark = pytest.mark.slow


class TestPlugin(PluginConformance):
    plugin = "zoo-latent"


class TestStableDiffusion(GeneratorConformance):
    prompt = "a red fox"
    options = {"steps": 2}

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory: pytest.TempPathFactory) -> zoo.Model:
        folder: Path = tmp_path_factory.mktemp("sd")
        return zoo.load(saved(stable_diffusion(folder), folder), device="cpu")


class TestStableDiffusion3(GeneratorConformance):
    prompt = "a red fox"
    options = {"steps": 2}

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory: pytest.TempPathFactory) -> zoo.Model:
        folder: Path = tmp_path_factory.mktemp("sd3")
        return zoo.load(saved(stable_diffusion_3(folder), folder), device="cpu")


class TestDiT(GeneratorConformance):
    options = {"steps": 2}

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory: pytest.TempPathFactory) -> zoo.Model:
        folder: Path = tmp_path_factory.mktemp("dit")
        return zoo.load(saved(dit(folder), folder), device="cpu")


class TestCaptionToImage(GeneratorConformance):
    """A pipeline as zoo train dit writes it."""

    prompt = "a red fox"
    options = {"steps": 2}

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory: pytest.TempPathFactory) -> zoo.Model:
        folder: Path = tmp_path_factory.mktemp("mmdit")
        return zoo.load(caption_to_image(folder), device="cpu")
