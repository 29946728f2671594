"""Editing, on a network shaped like CIFAR-10's and on grey digits, through the models a user loads."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from torch import Tensor
from zoo_ddpm import checkpoint
from zoo_ddpm.editing import (
    DEFAULT_FACTOR,
    DEFAULT_POSITION,
    blocks,
    brightness,
    ddim_inversion,
    known_part,
    slerp,
)
from zoo_ddpm.keeping import keeping
from zoo_ddpm.sampling import SchedulerConfig, plan_sampling, predictor
from zoo_ddpm.unet import UNet, UNetConfig

import zoo_core as zoo
from zoo_core import Noise, OptionError


@pytest.fixture(scope="module")
def colour(tmp_path_factory: pytest.TempPathFactory) -> zoo.Model:
    folder = tmp_path_factory.mktemp("colour")
    torch.manual_seed(0)
    unet = UNet(
        UNetConfig(
            sample_size=32,
            in_channels=3,
            out_channels=3,
            block_out_channels=(8, 16),
            down_block_types=("DownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "UpBlock2D"),
            layers_per_block=1,
            norm_num_groups=4,
        )
    )
    with torch.no_grad():  # a velocity near 0: a denoiser, as trained networks are
        unet.conv_out.weight *= 0.3
    scheduler = {"_class_name": "DDPMScheduler", "prediction_type": "v_prediction"}
    checkpoint.write(folder, unet, scheduler, {})
    return zoo.load(folder, device="cpu")


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    random = torch.Generator().manual_seed(0)
    for name, side in (("input", 32), ("other", 32), ("small", 8)):
        levels = torch.randint(0, 256, (side, side, 3), generator=random, dtype=torch.uint8)
        Image.fromarray(levels.numpy()).save(folder / f"{name}.png")
    scattered = torch.randint(0, 2, (32, 32), generator=random, dtype=torch.uint8) * 255
    Image.fromarray(scattered.numpy()).save(folder / "scattered.png")
    Image.fromarray(scattered.numpy()).convert("1").save(folder / "bits.png")
    Image.fromarray(scattered.numpy()).convert("RGBA").save(folder / "rgba.png")
    half = Image.new("L", (32, 32), 0)
    half.paste(255, (0, 16, 32, 32))
    half.save(folder / "half.png")
    return folder


def levels(path: Path) -> Tensor:
    return zoo.to_pixels(Image.open(path), (32, 32), 3)[0]


def edited(model: zoo.Model, files: Path, n: int = 1, **options: Any) -> Tensor:
    named = {
        key: str(files / value) if key in ("mask", "towards", "input") else value
        for key, value in options.items()
    }
    arguments = {"input": str(files / "input.png"), "seed": 5, "steps": 4, **named}
    return torch.stack([sample.tensor for sample in model.generate(n=n, **arguments)])


@pytest.mark.parametrize("mask", ["scattered.png", "bits.png", "rgba.png", "half.png"])
@pytest.mark.parametrize("how", [{"sampler": "ddpm"}, {"sampler": "dpmpp-2m"}, {"resample": 2, "steps": 12}])
def test_known_pixels_are_kept_exactly(colour, files, mask, how):
    made = edited(colour, files, mask=mask, **how)[0]
    kept = zoo.to_pixels(Image.open(files / mask), (32, 32), 1)[0, 0] < 0
    assert 0 < kept.sum() < kept.numel()
    assert torch.equal(made[:, kept], levels(files / "input.png")[:, kept])
    assert not torch.equal(made[:, ~kept], levels(files / "input.png")[:, ~kept])


@pytest.mark.parametrize("side", [32, 8])
@pytest.mark.parametrize(
    ("name", "project"), [("brightness", brightness), ("coarse", lambda x: blocks(x, 4))]
)
def test_projections_are_kept(files, name, project, side):
    if name == "brightness" and side == 8:
        pytest.skip("the image has the model's size")
    image = zoo.InputImage(Image.open(files / ("input.png" if side == 32 else "small.png")))
    known, keep = known_part(image, (3, 32, 32), name, 4)
    config, noise = SchedulerConfig(clip_sample=False), Noise([0])
    plan = plan_sampling(config, "dpmpp-2m", 8)
    predict = keeping(
        predictor(lambda x, t: 0.9 * x, config), known.double(), noise.normal(3, 32, 32).double(), keep
    )
    *_, (made, _) = plan.run(predict, noise.normal(3, 32, 32).double(), noise)
    assert (project(made) - project(known.double())).abs().max() < 1e-9
    assert (made - known).abs().max() > 0.1


def test_strength_decides_how_much_stays(colour, files):
    known = levels(files / "input.png")
    apart = [
        (edited(colour, files, strength=share, steps=20)[0] - known).abs().mean() for share in (0.1, 0.5, 0.9)
    ]
    assert apart[0] < apart[1] < apart[2]


def test_an_edit_does_not_depend_on_its_batch(colour, files):
    for how in ({"mask": "half.png"}, {"strength": 0.5, "sampler": "ddpm"}, {"invert": True}):
        together = edited(colour, files, n=3, **how)
        alone = edited(colour, files, **{**how, "seed": 7})
        assert torch.allclose(together[2], alone[0], atol=1e-5)


@pytest.mark.slow
def test_an_inverted_image_comes_back(colour, files):
    made = edited(colour, files, invert=True, steps=50)[0]
    error = (made - levels(files / "input.png")).square().mean().item()
    assert 10 * math.log10(4 / max(error, 1e-12)) >= 30


def test_the_ends_of_an_interpolation_are_the_images(colour, files):
    path = edited(colour, files, n=3, towards="other.png", position=[0.0, 0.5, 1.0], steps=8)
    for place, name in ((0, "input"), (2, "other")):
        assert (path[place] - levels(files / f"{name}.png")).abs().mean() < 0.05
    assert torch.allclose(slerp(path, path.flip(0), torch.zeros(3)), path, atol=1e-5)


def test_inversion_solves_the_steps_of_ddim():
    """With data N(0, 0.25), whose ε is known, sampling returns to the image to rounding."""
    config = SchedulerConfig(clip_sample=False)
    plan = plan_sampling(config, "ddim", 50)
    alphas_bar = config.alphas_bar()

    def network(x: Tensor, t: float) -> Tensor:
        alpha_bar = alphas_bar[int(t)].item()
        return math.sqrt(1 - alpha_bar) * x / (0.25 * alpha_bar + 1 - alpha_bar)

    predict, noise = predictor(network, config), Noise([0])
    image = 0.5 * noise.normal(3, 8, 8).double()
    *_, (again, _) = plan.run(predict, ddim_inversion(predict, image, plan.steps), noise)
    assert (again - image).abs().max() < 1e-3


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"mask": "half.png", "invert": True}, "two ways"),
        ({"keep": "coarse", "factor": 5}, "does not divide 32 × 32"),
        ({"resample": 2}, "known part"),
        ({"factor": 8}, "--factor is for --keep coarse"),
        ({"position": 0.25}, "between two images"),
        ({"position": 0.25, "invert": True}, "between two images"),
        ({"invert": True, "eta": 1.0}, "can be inverted"),
        ({"mask": "half.png", "sampler": "dpm-adaptive", "steps": None}, "chooses its steps"),
        ({"mask": "half.png", "resample": 2, "sampler": "dpmpp-sde"}, "one path"),
        ({"strength": 0.0}, "no step"),
        ({"mask": "small.png"}, "8 × 8 pixels"),
    ],
)
def test_options_that_contradict_each_other_are_refused(colour, files, options, wrong):
    with pytest.raises(OptionError, match=wrong) as caught:
        edited(colour, files, **options)
    assert caught.value.remedy


def test_the_defaults_are_those_of_the_manifest(colour):
    options = colour.card.options
    assert (options["factor"].default, options["position"].default) == (DEFAULT_FACTOR, DEFAULT_POSITION)


def test_a_replay_needs_the_same_image(colour, files):
    sample = next(colour.generate(seed=0, steps=2, input=str(files / "input.png"), strength=0.5))
    assert len(sample.record.files["input"]) == 64
