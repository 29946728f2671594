"""Load a generator from a checkpoint: the plugin's own layout, or a plain ``.pt`` file.

The own layout is ``model.safetensors`` with NVIDIA's tensor names, and a config.json with ``model_type``
(stylegan2 or stylegan3) and the fields of that type's config; fields that are left out have their default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

from zoo_core import Checkpoint, WeightsError, load_network, read_config
from zoo_stylegan.formats import plain
from zoo_stylegan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, filter_buffers
from zoo_stylegan.networks.stylegan3 import StyleGAN3, StyleGAN3Config

Generator = StyleGAN2 | StyleGAN3
Config = StyleGAN2Config | StyleGAN3Config

CONFIGS: Mapping[str, type[Config]] = {"stylegan2": StyleGAN2Config, "stylegan3": StyleGAN3Config}
ALIASES = {"picture_channels": "image_channels"}
"""Settings of config.json by the names that version 0.1 wrote."""
W_AVG_SAMPLES = 10_000
"""Number of z over which w_avg is estimated."""


def load_generator(checkpoint: Checkpoint) -> Generator:
    """Load the generator of a checkpoint for evaluation, on the CPU in float32.

    Raises:
        WeightsError: The checkpoint holds no StyleGAN2 or StyleGAN3, or has an unknown setting.
    """
    if checkpoint.has("config.json"):
        config = parse_config(checkpoint.json("config.json"), f"{checkpoint.source}: config.json")
        return build_generator(config, checkpoint.tensors("model"), checkpoint.source)
    stem = next((PurePosixPath(name).stem for name in checkpoint.files if name.endswith(".pt")), None)
    if stem is None:
        raise WeightsError(
            f"{checkpoint.source} has neither a config.json nor a .pt file.", "Get a complete copy of it."
        )
    tensors = checkpoint.tensors(stem, "g_ema")
    inferred = plain.infer_config(tensors, checkpoint.source)
    renamed = plain.rename_tensors(tensors) | filter_buffers(inferred)
    renamed["mapping.w_avg"] = torch.zeros(inferred.w_dim)
    generator = build_generator(inferred, renamed, checkpoint.source)
    generator.mapping.w_avg = compute_w_avg(generator)
    return generator


def parse_config(config: Mapping[str, Any], source: str) -> Config:
    """Parse the content of a config.json in the plugin's own layout.

    Raises:
        WeightsError: A setting is missing, unknown, of another type or out of bounds; names the setting.
    """
    config_type = CONFIGS.get(str(config.get("model_type")))
    if config_type is None:
        raise WeightsError(
            f"{source}: model_type is {config.get('model_type')!r}; expected one of {', '.join(CONFIGS)}.",
            "Use a checkpoint that this plugin supports.",
        )
    return read_config(config_type, config, source, ignore=("model_type", "zoo"), aliases=ALIASES)


def to_json(config: Config) -> dict[str, Any]:
    """Return the content of a config.json that :func:`parse_config` reads back."""
    model_type = next(name for name, known in CONFIGS.items() if isinstance(config, known))
    return {"model_type": model_type, **asdict(config)}


def build_generator(config: Config, tensors: Mapping[str, Tensor], source: str) -> Generator:
    """Build the generator of a config, with tensors by NVIDIA's names, for evaluation.

    Raises:
        WeightsError: Tensors are missing, unexpected or of another shape.
    """

    def build() -> Generator:
        return StyleGAN2(config) if isinstance(config, StyleGAN2Config) else StyleGAN3(config)

    return load_network(build, tensors, source, torch.float32)


@torch.inference_mode()
def compute_w_avg(generator: Generator) -> Tensor:
    """Return the mean of w over ``W_AVG_SAMPLES`` fixed z, (w_dim,)."""
    mapping = generator.mapping
    random = torch.Generator().manual_seed(0)
    z = torch.randn(W_AVG_SAMPLES, mapping.z_dim, generator=random)
    return torch.cat([mapping(part) for part in torch.split(z, 1000)]).mean(0)
