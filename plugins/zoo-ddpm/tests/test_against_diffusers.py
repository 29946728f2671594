"""Whole trajectories, from a saved checkpoint to the image, against diffusers with the same noise.

Networks have random weights in the layouts of published checkpoints, scaled down. diffusers is given the
numbers that the samples' own streams yield, in the order in which its schedulers ask for them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from zoo_ddpm import checkpoint
from zoo_ddpm.prediction import predictor
from zoo_ddpm.samplers import ddim, ddpm, dpmpp_2m
from zoo_ddpm.sampling import sampler_steps
from zoo_ddpm.schedule import SchedulerConfig

import zoo_core as zoo
from zoo_core import Checkpoint, Noise

pytestmark = pytest.mark.slow

Draw = Callable[[], Tensor]

SEEDS = [3, 4]


def cifar10_like() -> diffusers.UNet2DModel:
    """google/ddpm-cifar10-32, an eighth as wide, 16 pixels."""
    return diffusers.UNet2DModel(
        sample_size=16,
        block_out_channels=(16, 32, 32, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
        norm_num_groups=8,
    )


def celebahq_like() -> diffusers.UNet2DModel:
    """google/ddpm-celebahq-256, a sixteenth as wide, 32 pixels."""
    return diffusers.UNet2DModel(
        sample_size=32,
        block_out_channels=(8, 8, 16, 16, 32, 32),
        down_block_types=("DownBlock2D",) * 4 + ("AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D") + ("UpBlock2D",) * 4,
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
        norm_num_groups=4,
    )


def butterflies_like() -> diffusers.UNet2DModel:
    """anton-l/ddpm-butterflies-128 and its kind: the library's own defaults, several heads, 16 pixels."""
    return diffusers.UNet2DModel(
        sample_size=16,
        block_out_channels=(16, 16, 32, 32),
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        norm_num_groups=8,
    )


LAYOUTS = {
    "cifar10": (cifar10_like, "", "", {"variance_type": "fixed_large"}),
    "celebahq": (celebahq_like, "", "", {"variance_type": "fixed_small"}),
    "butterflies": (butterflies_like, "unet", "scheduler", {"beta_schedule": "squaredcos_cap_v2"}),
}


@dataclass(frozen=True)
class Pair:
    """One network, as diffusers has it and as it lies in a folder."""

    folder: Path
    unet: Any
    scheduler: dict[str, Any]
    """Options of the scheduler that differ from the defaults."""

    @property
    def shape(self) -> tuple[int, int, int]:
        config = self.unet.config
        return config.in_channels, config.sample_size, config.sample_size


@pytest.fixture(scope="module", params=LAYOUTS)
def pair(request, tmp_path_factory) -> Pair:
    build, unet_folder, scheduler_folder, scheduler = LAYOUTS[request.param]
    torch.manual_seed(0)
    unet = build().eval()
    folder = tmp_path_factory.mktemp(request.param)
    unet.save_pretrained(folder / unet_folder)
    diffusers.DDPMScheduler(**scheduler).save_pretrained(folder / scheduler_folder)
    return Pair(folder, unet, scheduler)


@torch.inference_mode()
def theirs(pair: Pair, scheduler: Any, steps: int, draw: Draw, **options: Any) -> Tensor:
    """diffusers' sample in float64, its tables included."""
    unet = copy.deepcopy(pair.unet).double()
    betas = pair.scheduler.get("beta_schedule", "linear")
    alphas_bar = SchedulerConfig(beta_schedule=betas).alphas_bar()
    scheduler.alphas_cumprod = alphas_bar
    scheduler.set_timesteps(steps)
    if hasattr(scheduler, "sigmas"):
        sigmas = ((1 - alphas_bar) / alphas_bar).sqrt()[scheduler.timesteps]
        scheduler.sigmas = torch.cat([sigmas, torch.zeros(1)])
    x = draw()
    for t in scheduler.timesteps:
        x = scheduler.step(unet(x, t).sample, t, x, **options).prev_sample
    return x


@torch.inference_mode()
def ours(pair: Pair, sampler: str, steps: int, draw: Draw, spacing: str, **options: Any) -> Tensor:
    """Our sample in float64, from the saved files."""
    files = {str(path.relative_to(pair.folder)): path for path in pair.folder.rglob("*.*")}
    parts = checkpoint.read(Checkpoint(str(pair.folder), files, "sha256:"))
    unet, config = parts.build_unet().double(), SchedulerConfig.from_json(parts.scheduler_config)
    walk = {"ddpm": ddpm, "ddim": ddim, "dpmpp-2m": dpmpp_2m}[sampler]
    predict = predictor(lambda x, t: unet(x, t), config)
    *_, (x, _) = walk(predict, draw(), sampler_steps(config, sampler, steps, spacing), draw, **options)
    return x


def draws(pair: Pair) -> Draw:
    """A fresh source of the same noise: each call draws once from every sample's stream."""
    noise = Noise(SEEDS)
    return lambda: noise.normal(*pair.shape).double()


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_ddpm_trajectories_equal_those_of_diffusers(pair, monkeypatch, relative_error, spacing):
    scheduler = diffusers.DDPMScheduler(timestep_spacing=spacing, **pair.scheduler)
    draw = draws(pair)
    monkeypatch.setattr("diffusers.schedulers.scheduling_ddpm.randn_tensor", lambda *_, **__: draw())
    expected = theirs(pair, scheduler, 10, draw)

    made = ours(pair, "ddpm", 10, draws(pair), spacing, variance=scheduler.config.variance_type)

    assert relative_error(made, expected) <= 1e-9


class DDIMWithOurNoise(diffusers.DDIMScheduler):
    """Takes its noise from our streams, and none where σ is 0, where ours draws none either."""

    draw: Draw

    def step(self, output: Tensor, t: Tensor, x: Tensor, eta: float) -> Any:
        last = t < 1000 // self.num_inference_steps
        noise = torch.zeros_like(x) if eta == 0 or last else self.draw()
        return super().step(output, t, x, eta=eta, variance_noise=noise)


@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_trajectories_equal_those_of_diffusers(pair, relative_error, spacing, eta):
    betas = pair.scheduler.get("beta_schedule", "linear")
    scheduler = DDIMWithOurNoise(timestep_spacing=spacing, beta_schedule=betas)
    scheduler.draw = draws(pair)
    expected = theirs(pair, scheduler, 10, scheduler.draw, eta=eta)

    made = ours(pair, "ddim", 10, draws(pair), spacing, eta=eta)

    assert relative_error(made, expected) <= 1e-9


def test_dpmpp_2m_trajectories_equal_those_of_diffusers(pair, relative_error):
    # diffusers' solver knows no clipping, but thresholding at 1 is the same thing.
    scheduler = diffusers.DPMSolverMultistepScheduler(
        beta_schedule=pair.scheduler.get("beta_schedule", "linear"), thresholding=True, sample_max_value=1.0
    )
    expected = theirs(pair, scheduler, 15, draws(pair))

    made = ours(pair, "dpmpp-2m", 15, draws(pair), "linspace")

    # It takes its steps in float32 whatever it is given; the golden trajectories are exact.
    assert relative_error(made, expected) <= 1e-4


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
def test_what_zoo_load_makes_in_float32_is_what_diffusers_makes(pair, tmp_path, prediction_type):
    """Not with ε: ε through a random network magnifies rounding without bound, as no trained one does."""
    betas = pair.scheduler.get("beta_schedule", "linear")
    scheduler = diffusers.DDIMScheduler(beta_schedule=betas, prediction_type=prediction_type)
    pair.unet.save_pretrained(tmp_path)
    scheduler.save_pretrained(tmp_path)
    expected = theirs(pair, scheduler, 10, draws(pair)).clamp(-1, 1)

    made = zoo.load(tmp_path, device="cpu").generate(seeds=SEEDS, steps=10)

    assert (torch.stack([sample.tensor for sample in made]) - expected).abs().max() <= 1e-4
