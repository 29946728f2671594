"""Read checkpoints in the layout of diffusers: model_index.json, and a folder for each network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo_core import Checkpoint, WeightsError, load_network
from zoo_latent.networks.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from zoo_latent.networks.unet import UNet, UNetConfig
from zoo_latent.text.clip import ClipConfig, ClipText, clip_tensors
from zoo_latent.text.tokenizer import ClipTokenizer

OLD_ATTENTION_NAMES: Mapping[str, str] = {
    "query": "to_q",
    "key": "to_k",
    "value": "to_v",
    "proj_attn": "to_out.0",
}
"""The names of an autoencoder's attention layers before diffusers 0.12, and today's."""


@dataclass(frozen=True)
class Part:
    """A network of a checkpoint."""

    config: Mapping[str, Any]
    tensors: Callable[[], Mapping[str, Tensor]]
    source: str
    """Its config file, for messages."""


@dataclass(frozen=True)
class Parts:
    """The networks of a checkpoint, not yet built."""

    index: Mapping[str, Any]
    """The content of model_index.json."""
    denoiser: Part
    autoencoder: Part
    encoders: tuple[tuple[Part, Callable[[int], ClipTokenizer]], ...]
    """Text encoders, each with a function that reads its tokenizer for a number of tokens."""
    scheduler: Mapping[str, Any]
    source: str


def read_folder(checkpoint: Checkpoint) -> Parts:
    """Read the configs of a checkpoint with a model_index.json.

    Raises:
        WeightsError: A part is missing, or is a network that zoo-latent does not have.
    """

    def part(folder: str) -> Part:
        stem = "model" if folder.startswith("text_encoder") else "diffusion_pytorch_model"
        return Part(
            checkpoint.json(f"{folder}/config.json"),
            lambda: checkpoint.tensors(f"{folder}/{stem}"),
            f"{checkpoint.source}: {folder}/config.json",
        )

    def encoder(suffix: str) -> tuple[Part, Callable[[int], ClipTokenizer]]:
        folder = f"tokenizer{suffix}/"
        return part(f"text_encoder{suffix}"), lambda size: ClipTokenizer.read(checkpoint, folder, size)

    index = checkpoint.json("model_index.json")
    suffixes = [s for s in ("", "_2") if _names_a_class(index.get(f"text_encoder{s}"))]
    return Parts(
        index,
        part("unet"),
        part("vae"),
        tuple(map(encoder, suffixes)),
        checkpoint.json("scheduler/scheduler_config.json"),
        checkpoint.source,
    )


def _names_a_class(entry: object) -> bool:
    """Return True if an entry of model_index.json names a library and a class: parts may be left out."""
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(name, str) for name in entry)


def build_unet(part: Part, dtype: torch.dtype, device: torch.device) -> UNet:
    """Build the U-Net; WeightsError if it is another network, or its tensors do not fit."""
    _require_class(part, "UNet2DConditionModel")
    config = UNetConfig.from_json(part.config, part.source)
    return load_network(lambda: UNet(config), part.tensors(), part.source, dtype, device)


def build_autoencoder(part: Part, dtype: torch.dtype, device: torch.device) -> AutoencoderKL:
    """Build the autoencoder; WeightsError if it is another network, or its tensors do not fit."""
    _require_class(part, "AutoencoderKL")
    config = AutoencoderKLConfig.from_json(part.config, part.source)
    tensors = current_names(part.tensors())
    return load_network(lambda: AutoencoderKL(config), tensors, part.source, dtype, device)


def build_encoder(part: Part, dtype: torch.dtype, device: torch.device) -> ClipText:
    """Build a text encoder; WeightsError if it is another network, or its tensors do not fit."""
    name = (part.config.get("architectures") or ["CLIPTextModel"])[0]
    if name not in ("CLIPTextModel", "CLIPTextModelWithProjection"):
        raise WeightsError(
            f"{part.source}: the text encoder is {name!r}; zoo-latent reads CLIPTextModel.",
            "Use a checkpoint that zoo-latent supports; its README lists them.",
        )
    config = ClipConfig.from_json(part.config, part.source)

    def build() -> ClipText:
        return ClipText(config, projection=name == "CLIPTextModelWithProjection")

    with torch.device("meta"):
        tensors = clip_tensors(part.tensors(), build())
    return load_network(build, tensors, part.source, dtype, device)


def current_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return an autoencoder's tensors under today's names, attention's linear weights as matrices."""
    renamed = {}
    for name, tensor in tensors.items():
        if ".attentions." in name:
            name = ".".join(OLD_ATTENTION_NAMES.get(part, part) for part in name.split("."))
            if name.endswith(".weight") and tensor.dim() > 2:
                tensor = tensor.flatten(1)
        renamed[name] = tensor
    return renamed


def _require_class(part: Part, expected: str) -> None:
    name = part.config.get("_class_name", expected)
    if name != expected:
        raise WeightsError(
            f"{part.source}: the network is {name!r}; zoo-latent reads {expected} here.",
            "Use a checkpoint that zoo-latent supports; its README lists them.",
        )
