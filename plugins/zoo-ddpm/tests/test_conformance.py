"""The core's conformance suite: on tiny random networks, and on every model that the plugin embeds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from zoo_ddpm import checkpoint
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

import zoo_core as zoo
from zoo_core.testing import GeneratorConformance, embedded_models

pytestmark = pytest.mark.slow


def load(folder: Path, scheduler: dict[str, Any], table: dict[str, Any], **network: Any) -> zoo.Model:
    torch.manual_seed(0)
    config = UNetConfig(
        sample_size=8,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=2,
        **network,
    )
    checkpoint.write(folder, UNet(config), {"num_train_timesteps": 20, **scheduler}, table)
    return zoo.load(folder, device="cpu")


class TestUnconditional(GeneratorConformance):
    options = {"steps": 3}

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory: pytest.TempPathFactory) -> zoo.Model:
        return load(tmp_path_factory.mktemp("unconditional"), {}, {})


class TestWithClasses(GeneratorConformance):
    options = {"steps": 3, "sampler": "ddim", "eta": 0.5}

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, tmp_path_factory: pytest.TempPathFactory) -> zoo.Model:
        return load(
            tmp_path_factory.mktemp("classes"),
            {"prediction_type": "v_prediction"},
            {"null_class": 3, "class_names": ["a", "b", "c"]},
            in_channels=1,
            out_channels=1,
            num_class_embeds=4,
        )


class TestEmbedded(GeneratorConformance):
    options = {"steps": 2}

    @pytest.fixture(scope="class", params=embedded_models("zoo-ddpm"))
    @classmethod
    def subject(cls, request: pytest.FixtureRequest) -> zoo.Model:
        return zoo.load(request.param, device="cpu")
