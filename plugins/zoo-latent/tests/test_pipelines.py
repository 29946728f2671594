"""Whole pipelines beside those of diffusers: 20 steps from the same noise."""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import diffusers
import numpy as np
import pytest
import torch
from PIL import Image
from pipelines import (
    SD_SCHEDULE,
    dit,
    latent_diffusion,
    saved,
    stable_diffusion,
    stable_diffusion_3,
    stable_diffusion_xl,
)

import zoo_core as zoo
from zoo_core.testing.golden import relative_error

PROMPT, NEGATIVE = "a red fox", "blue 2"
SEEDS = [0, 1]
SHAPE = (4, 8, 8)


def expected(pipeline: Any, noise: torch.Tensor | None = None, steps: int = 20, **arguments: Any):
    """Run diffusers' pipeline on the noise of the seeds: (2, 3, h, w) in [-1, 1]."""
    noise = zoo.Noise(SEEDS).normal(*SHAPE) if noise is None else noise
    pipeline.scheduler.set_timesteps(steps)
    # diffusers scales noise to the highest level by σ where ours is of variance 1 − ᾱ.
    scale = float(pipeline.scheduler.init_noise_sigma)
    if scale != 1:
        noise = noise * math.hypot(1, float(pipeline.scheduler.sigmas[0])) / scale
    images = pipeline(
        [PROMPT] * 2, num_inference_steps=steps, latents=noise, output_type="pt", **arguments
    ).images  # fmt: skip
    return images * 2 - 1


def made(model: zoo.Model, prompt: str | None = PROMPT, steps: int = 20, **options: Any) -> torch.Tensor:
    samples = list(model.generate(prompt, seeds=SEEDS, steps=steps, batch_size=2, **options))
    return torch.stack([sample.tensor for sample in samples])


def difference(ours: torch.Tensor, theirs: torch.Tensor) -> float:
    assert theirs.std() > 0.05  # an image that is grey all over would prove nothing
    return float((ours - theirs).abs().max())


def test_stable_diffusion_1(tmp_path: Path):
    pipeline = stable_diffusion(tmp_path)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    theirs = expected(pipeline, negative_prompt=[NEGATIVE] * 2)
    assert difference(made(model, negative_prompt=NEGATIVE), theirs) < 1e-4
    assert difference(made(model, guidance_scale=1.0), expected(pipeline, guidance_scale=1.0)) < 1e-4


@pytest.mark.parametrize(
    "kind",
    ["PNDMScheduler", "EulerDiscreteScheduler", "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"],
)
def test_the_scheduler_of_the_file_is_used(tmp_path: Path, kind: str):
    more = {"skip_prk_steps": True, "set_alpha_to_one": False} if kind == "PNDMScheduler" else {}
    pipeline = stable_diffusion(tmp_path, getattr(diffusers, kind)(**SD_SCHEDULE, **more))
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    assert difference(made(model), expected(pipeline)) < 1e-4


def test_stable_diffusion_2_with_v_prediction_and_rescaled_guidance(tmp_path: Path):
    scheduler = diffusers.DDIMScheduler(
        **SD_SCHEDULE, clip_sample=False, set_alpha_to_one=False, prediction_type="v_prediction",
        rescale_betas_zero_snr=True, timestep_spacing="trailing",
    )  # fmt: skip
    pipeline = stable_diffusion(tmp_path, scheduler, use_linear_projection=True, attention_head_dim=(2, 4))
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    theirs = expected(pipeline, guidance_rescale=0.7)
    assert difference(made(model, guidance_rescale=0.7), theirs) < 1e-4


def test_turbo_in_one_and_four_steps_without_guidance(tmp_path: Path):
    scheduler = diffusers.EulerDiscreteScheduler(**SD_SCHEDULE, timestep_spacing="trailing")
    pipeline = stable_diffusion(tmp_path, scheduler)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    for steps in (1, 4):
        theirs = expected(pipeline, steps=steps, guidance_scale=0.0)
        assert difference(made(model, steps=steps, guidance_scale=0.0), theirs) < 1e-4


def test_latent_consistency(tmp_path: Path):
    base = stable_diffusion(tmp_path, diffusers.LCMScheduler(**SD_SCHEDULE), time_cond_proj_dim=10)
    pipeline = diffusers.LatentConsistencyModelPipeline(**base.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    theirs = expected(pipeline, steps=1)  # with one step, the sampler draws no further noise
    assert difference(made(model, steps=1), theirs) < 1e-4
    other = expected(pipeline, steps=1, guidance_scale=2.0)
    assert difference(made(model, steps=1, guidance_scale=2.0), other) < 1e-4


@pytest.mark.parametrize("zeros", [True, False])
def test_sdxl(tmp_path: Path, zeros: bool):
    pipeline = stable_diffusion_xl(tmp_path, zeros=zeros)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    assert difference(made(model), expected(pipeline)) < 1e-4
    theirs = expected(pipeline, negative_prompt=[NEGATIVE] * 2)
    assert difference(made(model, negative_prompt=NEGATIVE), theirs) < 1e-4


@pytest.mark.parametrize(
    ("t5", "settings"),
    [(True, {}), (False, {}), (True, {"qk_norm": "rms_norm", "dual_attention_layers": (0,)})],
)
def test_stable_diffusion_3(tmp_path: Path, t5: bool, settings: dict[str, Any]):
    pipeline = stable_diffusion_3(tmp_path, t5, **settings)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    encoder, texts = model.generator.denoiser.encoder, [PROMPT, NEGATIVE]
    words, _, pooled, _ = pipeline.encode_prompt(texts, None, None, do_classifier_free_guidance=False)
    ours = encoder.encode(texts, 1)
    assert relative_error(ours.words, words) < 1e-5
    assert relative_error(ours.pooled, pooled) < 1e-5
    noise = zoo.Noise(SEEDS).normal(16, 8, 12)

    def theirs(**arguments: Any) -> torch.Tensor:
        images = pipeline(
            [PROMPT] * 2, num_inference_steps=20, latents=noise, height=16, width=24, output_type="pt",
            **arguments,
        ).images  # fmt: skip
        return images * 2 - 1

    size = {"height": 16, "width": 24}
    guided = theirs(negative_prompt=[NEGATIVE] * 2)
    assert difference(made(model, negative_prompt=NEGATIVE, **size), guided) < 1e-4
    assert difference(made(model, guidance_scale=1.0, **size), theirs(guidance_scale=1.0)) < 1e-4


def test_a_tiny_autoencoder_in_place_of_the_large_one(tmp_path: Path):
    pipeline = stable_diffusion(tmp_path)
    pipeline.vae = diffusers.AutoencoderTiny(
        encoder_block_out_channels=(8, 8), decoder_block_out_channels=(8, 8), num_encoder_blocks=(1, 2),
        num_decoder_blocks=(2, 1),
    ).eval()  # fmt: skip
    pipeline.vae_scale_factor = 2
    for part in pipeline.vae.decoder.parameters():
        part.data *= 2
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    assert difference(made(model), expected(pipeline)) < 1e-4


@pytest.fixture
def fed(monkeypatch: pytest.MonkeyPatch):
    """Return a function that feeds a pipeline's module, and the autoencoder, our noise, draw after draw."""

    def feed(module: str, order: Sequence[int] = (0, 1), shape: tuple[int, ...] = SHAPE) -> None:
        streams = zoo.Noise(SEEDS)
        ours = [streams.normal(*shape) for _ in range(2)]
        draws = [ours[i] for i in order]
        take = lambda *_, **__: draws.pop(0)  # noqa: E731
        monkeypatch.setattr(importlib.import_module(module), "randn_tensor", take)
        distribution = diffusers.models.autoencoders.vae.DiagonalGaussianDistribution
        monkeypatch.setattr(distribution, "sample", lambda self, *_: self.mean + self.std * take())

    return feed


def image(folder: Path, size: tuple[int, int] = (16, 16)) -> Path:
    pixels = np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "input.png")
    return folder / "input.png"


def mask(folder: Path, size: tuple[int, int] = (16, 16)) -> Path:
    pixels = np.zeros((size[1], size[0]), dtype=np.uint8)
    pixels[4:12, :8] = 255
    Image.fromarray(pixels).save(folder / "mask.png")
    return folder / "mask.png"


@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_an_image_is_changed(tmp_path: Path, fed: Any, strength: float):
    base = stable_diffusion(tmp_path)
    model = zoo.load(saved(base, tmp_path), device="cpu")
    pipeline = diffusers.StableDiffusionImg2ImgPipeline(**base.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    file = image(tmp_path)
    fed("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_img2img")
    images = pipeline(
        [PROMPT] * 2, image=Image.open(file), strength=strength, num_inference_steps=20, output_type="pt"
    ).images
    ours = made(model, input=str(file), strength=strength)
    assert difference(ours, images * 2 - 1) < 1e-4


def test_an_image_is_changed_by_a_flow(tmp_path: Path, fed: Any):
    base = stable_diffusion_3(tmp_path)
    model = zoo.load(saved(base, tmp_path), device="cpu")
    pipeline = diffusers.StableDiffusion3Img2ImgPipeline(**base.components)
    pipeline.set_progress_bar_config(disable=True)
    file = image(tmp_path)
    fed("diffusers.pipelines.stable_diffusion_3.pipeline_stable_diffusion_3_img2img", shape=(16, 8, 8))
    images = pipeline(
        [PROMPT] * 2, image=Image.open(file), strength=0.5, num_inference_steps=20, output_type="pt",
        height=16, width=16,
    ).images  # fmt: skip
    assert difference(made(model, input=str(file), strength=0.5), images * 2 - 1) < 1e-4


@pytest.mark.parametrize("channels", [4, 9])
def test_a_part_of_an_image_is_made_anew(tmp_path: Path, fed: Any, channels: int):
    base = stable_diffusion(tmp_path, in_channels=channels)
    pipeline = diffusers.StableDiffusionInpaintPipeline(**base.components, requires_safety_checker=False)
    pipeline.set_progress_bar_config(disable=True)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    file, hole = image(tmp_path), mask(tmp_path)
    # With 9 channels, diffusers draws x, then encodes the image; with 4 it encodes the hole too.
    order = [1, 0] if channels == 9 else [0, 1, 0]
    fed("diffusers.pipelines.stable_diffusion.pipeline_stable_diffusion_inpaint", order)
    images = pipeline(
        [PROMPT] * 2, image=Image.open(file), mask_image=Image.open(hole), num_inference_steps=20,
        height=16, width=16, strength=1.0, output_type="pt",
    ).images  # fmt: skip
    ours = made(model, input=str(file), mask=str(hole), strength=1.0)
    white = torch.from_numpy(np.array(Image.open(hole)) > 0)
    given = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1).float() / 127.5 - 1
    assert torch.equal(ours[..., ~white], given[None].expand_as(ours)[..., ~white])
    # With 4 channels we put the image into the first step too, where diffusers begins with noise alone.
    assert difference(ours[..., white], (images * 2 - 1)[..., white]) < (1e-4 if channels == 9 else 0.02)


def test_dit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pipeline = dit(tmp_path)
    index = saved(pipeline, tmp_path) / "model_index.json"
    names = {"id2label": {str(label): f"thing {label}" for label in range(1000)}}
    index.write_text(json.dumps({**json.loads(index.read_text()), **names}))  # as published
    model = zoo.load(index.parent, device="cpu")
    labels = [7, 999]
    streams = zoo.Noise(SEEDS)
    streams.uniform(1)  # with which a label is drawn where none is given
    noise = streams.normal(*SHAPE)
    monkeypatch.setattr("diffusers.pipelines.dit.pipeline_dit.randn_tensor", lambda *_, **__: noise)
    images = pipeline(class_labels=labels, num_inference_steps=20, output_type="np").images
    samples = list(model.generate(seeds=SEEDS, steps=20, batch_size=2, label=labels))
    ours = torch.stack([sample.tensor for sample in samples])
    assert difference(ours, torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1) < 1e-4
    assert samples[0].record.metadata["class"] == "thing 7"


def test_unconditional_latent_diffusion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pipeline = latent_diffusion(tmp_path)
    model = zoo.load(saved(pipeline, tmp_path), device="cpu")
    noise = zoo.Noise(SEEDS).normal(3, 8, 8)
    module = importlib.import_module(type(pipeline).__module__)
    monkeypatch.setattr(module, "randn_tensor", lambda *_, **__: noise)
    images = pipeline(batch_size=2, num_inference_steps=20, output_type="np").images
    assert difference(made(model, None), torch.from_numpy(images).permute(0, 3, 1, 2) * 2 - 1) < 1e-4
