"""Checkpoints of our own layout: config.json, whose ``model_type`` says what it is, and model.safetensors."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch

from zoo_core import save_weights
from zoo_gigagan.clip import ClipConfig
from zoo_gigagan.settings import read_settings, wrong
from zoo_gigagan.text_to_image import SMALLEST, TextToImage, TextToImageConfig
from zoo_gigagan.upsampler import Upsampler, UpsamplerConfig

TEXT_TO_IMAGE, UPSAMPLER = "gigagan-text-to-image", "gigagan-upsampler"
LARGEST = 1024
"""Side of an image."""


def read_text_to_image(config: Mapping[str, Any], source: str) -> TextToImageConfig:
    """Read a generator's config.json.

    Raises:
        WeightsError: A setting is missing, unknown, of another type, or does not fit the others.
    """
    said = {name: value for name, value in config.items() if name not in ("model_type", "clip")}
    made = read_settings(TextToImageConfig, said, source)
    if (clip := config.get("clip")) is not None:
        if not isinstance(clip, dict):
            raise wrong(source, f"says clip = {repr(clip)[:100]}")
        made = replace(made, clip=ClipConfig.read(clip, source))
    if not len(made.channels) >= 2 or made.resolution > LARGEST:
        raise wrong(source, f"says channels = {list(made.channels)[:20]}")
    with_attention = [
        width for width, size in zip(made.channels, made.sizes, strict=True) if size in made.attention
    ]
    if any(width % made.heads for width in [*with_attention, made.text_width]):
        raise wrong(source, f"says heads = {made.heads}, by which not all channels can be divided")
    if set(made.attention) - set(made.sizes):
        raise wrong(source, f"says attention = {list(made.attention)}; maps are from {SMALLEST} pixels up")
    return made


def read_upsampler(config: Mapping[str, Any], source: str) -> UpsamplerConfig:
    """Read an upsampler's config.json: AuraSR's, or our own.

    Raises:
        WeightsError: A setting is missing, unknown, of another type, or does not fit the others.
    """
    return UpsamplerConfig.read(
        {name: value for name, value in config.items() if name != "model_type"}, source
    )


def write(folder: Path, network: TextToImage | Upsampler, dtype: torch.dtype) -> None:
    """Write config.json and model.safetensors, the weights last.

    Args:
        folder: Where; it is made if need be.
        network: The generator or the upsampler.
        dtype: The type of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    kind = TEXT_TO_IMAGE if isinstance(network, TextToImage) else UPSAMPLER
    told = {"model_type": kind, **asdict(network.config)}
    (folder / "config.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    tensors = {name: tensor.to("cpu", dtype) for name, tensor in network.state_dict().items()}
    save_weights(folder / "model.safetensors", tensors, {"format": "pt"})
