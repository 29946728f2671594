"""Whole pipelines beside those of diffusers: 20 steps from the same noise."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from pipelines import SD_SCHEDULE, saved, stable_diffusion, stable_diffusion_xl

import zoo_core as zoo

PROMPT, NEGATIVE = "a red fox", "blue 2"


def expected(pipeline: Any, model: zoo.Model, **arguments: Any) -> torch.Tensor:
    """Run diffusers' pipeline on the noise of seeds 0 and 1: (2, 3, h, w) in [-1, 1]."""
    config = pipeline.unet.config
    shape = (config.out_channels, config.sample_size, config.sample_size)
    noise = zoo.Noise([0, 1]).normal(*shape)
    images = pipeline(
        [PROMPT] * 2, num_inference_steps=20, latents=noise, output_type="pt", **arguments
    ).images  # fmt: skip
    return images * 2 - 1


def made(model: zoo.Model, prompt: str = PROMPT, **options: Any) -> torch.Tensor:
    samples = list(model.generate(prompt, seeds=[0, 1], steps=20, **options))
    return torch.stack([sample.tensor for sample in samples])


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert theirs.std() > 0.05  # an image that is grey all over would prove nothing
    return float((ours - theirs).abs().max())


def test_stable_diffusion_1(tmp_path: Path):
    pipeline = stable_diffusion(tmp_path)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    theirs = expected(pipeline, model, negative_prompt=[NEGATIVE] * 2)
    assert difference(made(model, negative_prompt=NEGATIVE), theirs) < 1e-4
    plain = expected(pipeline, model, guidance_scale=1.0)
    assert difference(made(model, guidance_scale=1.0), plain) < 1e-4


def test_stable_diffusion_2_with_v_prediction_and_rescaled_guidance(tmp_path: Path):
    scheduler = diffusers.DDIMScheduler(
        **SD_SCHEDULE, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing",
    )  # fmt: skip
    pipeline = stable_diffusion(tmp_path, scheduler, use_linear_projection=True, attention_head_dim=(2, 4))
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    theirs = expected(pipeline, model, guidance_rescale=0.7)
    assert difference(made(model, guidance_rescale=0.7), theirs) < 1e-4


@pytest.mark.parametrize("zeros", [True, False])
def test_sdxl(tmp_path: Path, zeros: bool):
    pipeline = stable_diffusion_xl(tmp_path, zeros=zeros)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    assert difference(made(model), expected(pipeline, model)) < 1e-4
    theirs = expected(pipeline, model, negative_prompt=[NEGATIVE] * 2)
    assert difference(made(model, negative_prompt=NEGATIVE), theirs) < 1e-4
