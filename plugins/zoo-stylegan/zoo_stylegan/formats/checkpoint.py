"""Load a generator from a checkpoint: the plugin's own layout, or a plain ``.pt`` file.

The own layout is ``model.safetensors`` with NVIDIA's tensor names, and a config.json with ``model_type``
(stylegan2 or stylegan3) and the fields of that type's config; fields that are left out have their default.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import PurePosixPath
from typing import Any

import torch
from torch import Tensor

from zoo_core import Checkpoint, WeightsError, load_network, read_config
from zoo_stylegan.formats import plain
from zoo_stylegan.networks.stylegan2 import StyleGAN2, StyleGAN2Config, filter_buffers, noise_buffers
from zoo_stylegan.networks.stylegan3 import StyleGAN3, StyleGAN3Config, bands

Generator = StyleGAN2 | StyleGAN3
Config = StyleGAN2Config | StyleGAN3Config

CONFIGS: Mapping[str, type[Config]] = {"stylegan2": StyleGAN2Config, "stylegan3": StyleGAN3Config}
ALIASES = {"picture_channels": "image_channels"}
"""Settings of config.json by the names that version 0.1 wrote."""
W_AVG_SAMPLES = 10_000
"""Number of z over which w_avg is estimated."""
MAX_LAYERS = 64
"""Limit of the layers of a mapping network."""
LAYER = re.compile(r"synthesis\.L(\d{1,4})_")


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
    renamed = plain.rename_tensors(tensors, checkpoint.source) | filter_buffers(inferred)
    if not any(name.endswith(".noise_const") for name in renamed):
        renamed |= noise_buffers(inferred)
    w_avg = _stored_w_avg(checkpoint, stem, inferred.w_dim)
    renamed["mapping.w_avg"] = torch.zeros(inferred.w_dim) if w_avg is None else w_avg
    generator = build_generator(inferred, renamed, checkpoint.source)
    if w_avg is None:
        generator.mapping.w_avg = compute_w_avg(generator)
    return generator


def _stored_w_avg(checkpoint: Checkpoint, stem: str, w_dim: int) -> Tensor | None:
    """Return the entry ``latent_avg`` beside ``g_ema``, (w_dim,); None if the file has none."""
    try:
        stored = checkpoint.tensors(stem, "latent_avg").get("latent_avg")
    except WeightsError:  # the file has no such entry, and others than tensors
        return None
    if stored is not None and stored.numel() != w_dim:
        raise WeightsError(
            f"{checkpoint.source}: latent_avg has {stored.numel()} values; expected {w_dim}, the width of w.",
            "Get a fresh copy of the file.",
        )
    return None if stored is None else stored.flatten().float()


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
        WeightsError: Tensors are missing, unexpected or of another shape; or a setting does not fit them.
    """
    check_claims(
        config, {name: tuple(tensor.shape) for name, tensor in tensors.items()}, f"{source}: config.json"
    )

    def build() -> Generator:
        return StyleGAN2(config) if isinstance(config, StyleGAN2Config) else StyleGAN3(config)

    return load_network(build, tensors, source, torch.float32)


def check_claims(config: Config, shapes: Mapping[str, tuple[int, ...]], source: str) -> None:
    """Compare the settings with the shapes of the tensors, before a network is built.

    Tensors that are missing are not this function's concern: loading names them.

    Raises:
        WeightsError: A setting claims another size than the weights have; names the setting.
    """

    def check(key: str, claimed: object, found: object, *tensors: str) -> None:
        if claimed != found and all(name in shapes for name in tensors):
            raise WeightsError(
                f"{source}: {key} is {short(claimed)}, but the weights have {short(found)}.",
                "Use the settings that belong to these weights.",
            )

    def axis(name: str, index: int) -> int:
        shape = shapes.get(name, ())
        return shape[index] if len(shape) > index else 0

    layers = sum(f"mapping.fc{index}.weight" in shapes for index in range(MAX_LAYERS + 1))
    check("mapping_layers", config.mapping_layers, layers)
    check("w_dim", config.w_dim, axis("mapping.w_avg", 0), "mapping.w_avg")
    check("classes", config.classes, axis("mapping.embed.weight", 1))
    features = axis("mapping.fc0.weight", 1) - config.w_dim * bool(config.classes)
    check("z_dim", config.z_dim, features, "mapping.fc0.weight")
    if isinstance(config, StyleGAN2Config):
        names = [f"synthesis.b{size}.conv1.weight" for size in config.resolutions]
        check("channels", config.channels, tuple(axis(name, 0) for name in names), *names)
        last = f"synthesis.b{config.resolution}.torgb.weight"
    else:
        found = sorted({int(match[1]) for name in shapes if (match := LAYER.match(name))})
        check("count", config.count, found[-1] if found else 0)
        expected = [f"L{index}_{band.size}_{band.channels}" for index, band in enumerate(bands(config))]
        for name in expected:
            if not any(tensor.startswith(f"synthesis.{name}.") for tensor in shapes):
                raise WeightsError(
                    f"{source}: resolution, channel_base, channel_max and margin give a layer "
                    f"{name}, which the weights lack.",
                    "Use the settings that belong to these weights.",
                )
        first, taps = f"synthesis.{expected[0]}.weight", f"synthesis.{expected[0]}.up_filter"
        check("kernel", config.kernel, axis(first, 2), first)
        check("filter_size × upsampling", config.filter_size * config.upsampling, axis(taps, 0), taps)
        last = f"synthesis.{expected[-1]}.weight"
    check("image_channels", config.image_channels, axis(last, 0), last)


def short(value: object) -> str:
    """Return a setting as an error shows it."""
    return repr(value)[:80]


@torch.inference_mode()
def compute_w_avg(generator: Generator) -> Tensor:
    """Return the mean of w over ``W_AVG_SAMPLES`` fixed z, (w_dim,)."""
    mapping = generator.mapping
    random = torch.Generator().manual_seed(0)
    z = torch.randn(W_AVG_SAMPLES, mapping.z_dim, generator=random)
    return torch.cat([mapping(part) for part in torch.split(z, 1000)]).mean(0)
