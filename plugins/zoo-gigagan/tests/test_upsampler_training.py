"""Training an upsampler: its losses, and a run of zoo train whose model upscales images."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from click.testing import CliRunner
from PIL import Image
from zoo_gigagan.upsampler.training import concatenate, create_trainable

import zoo_core as zoo
from zoo_core import OptionError, Options, TrainingData
from zoo_core.cli import cli

OPTIONS = {
    "channels": 4,
    "blocks": 1,
    "kernels": 2,
    "z_dim": 8,
    "w_dim": 8,
    "discriminator_channels": "8,8,8,8",
    "r1": 1.0,
    "r1_every": 2,
    "nearness": 5.0,
    "consistency": 20.0,
    "weights": "float32",
}


def trainable(shape=(3, 32, 32), **options):
    torch.manual_seed(0)
    return create_trainable(Options(**OPTIONS | options), TrainingData(shape, (), 100))


def batch(n=4):
    return {"images": torch.rand(n, 3, 32, 32, generator=torch.Generator().manual_seed(1)) * 2 - 1}


def test_a_step_trains_the_discriminator_and_then_the_upsampler():
    made = trainable()
    random = torch.Generator().manual_seed(0)
    for step in range(3):
        first, second = made.losses(made.networks, batch(), random)
        assert (first.network, second.network) == ("discriminator", "generator")
        assert ("R1 penalty" in first.metrics) is (step % 2 == 0)
        first.value.backward()
        second.value.backward()
    idle = {
        name
        for network in made.networks.values()
        for name, parameter in network.named_parameters()
        if parameter.grad is None
    }
    assert {name for name in idle if not name.endswith("attend.scale")} == set()  # which nothing reads


def test_the_loss_is_adversarial_reconstruction_and_consistency():
    made = trainable(r1=0.0)
    drawn = torch.full((4, 3, 32, 32), 0.25)
    networks = {
        "generator": lambda small, z: drawn,
        "discriminator": lambda images: [torch.full((4, 3), 0.7)],
    }
    real = batch()["images"]
    first, second = made.losses(networks, batch(), torch.Generator().manual_seed(0))
    small = real.reshape(4, 3, 8, 4, 8, 4).mean((3, 5))
    logistic = math.log1p(math.exp(-0.7))
    wanted = logistic + 5 * (drawn - real).abs().mean() + 20 * (0.25 - small).abs().mean()
    assert float(first.value) == pytest.approx(logistic + math.log1p(math.exp(0.7)), rel=1e-5)
    assert float(second.value) == pytest.approx(float(wanted), rel=1e-5)


def test_the_discriminator_sees_the_low_resolution_image():
    large, small = torch.randn(2, 3, 32, 32), torch.randn(2, 3, 8, 8)
    pair = concatenate(large, small)
    assert torch.equal(pair[:, :3], large)
    assert torch.allclose(F.avg_pool2d(pair[:, 3:], 4), small, atol=1e-6)


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((3, 16, 16), {}, "3×16×16"),
        ((1, 32, 32), {}, "1×32×32"),
        ((3, 32, 64), {}, "3×32×64"),
        ((3, 32, 32), {"discriminator_channels": "8,8"}, "--discriminator-channels"),
    ],
)
def test_options_that_do_not_fit_the_data_are_refused(shape, options, message):
    with pytest.raises(OptionError, match=message) as caught:
        trainable(shape, **options)
    assert caught.value.remedy


def test_zoo_train_makes_an_upsampler_that_zoo_runs(tmp_path):
    random = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for index in range(8):
        Image.fromarray(random.integers(0, 256, (32, 32, 3), np.uint8)).save(tmp_path / f"data/{index}.png")
    command = ["train", "gigagan-upsampler", "--data", str(tmp_path / "data"), "-o", str(tmp_path / "made")]
    command += [
        "--batch-size",
        "4",
        "--channels",
        "4",
        "--blocks",
        "1",
        "--steps",
        "2",
        "--weights",
        "float16",
    ]
    command += ["--discriminator-channels", "8,8,8,8", "--sample-every", "1"]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    assert "No samples at step 1: There is no image to upscale." in result.output
    (sample,) = zoo.load(tmp_path / "made", device="cpu").generate(seed=0, input=str(tmp_path / "data/0.png"))
    assert sample.tensor.shape == (3, 128, 128)
