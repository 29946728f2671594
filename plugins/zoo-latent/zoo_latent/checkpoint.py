"""Read checkpoints in the layout of diffusers: model_index.json, and a folder for each network."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from zoo_ddpm.checkpoint import current_names

from zoo_core import Checkpoint, WeightsError, load_network
from zoo_latent.networks.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from zoo_latent.networks.autoencoder_tiny import AutoencoderTiny, TinyConfig
from zoo_latent.networks.mmdit import MMDiT, MMDiTConfig
from zoo_latent.networks.unet import UNet, UNetConfig
from zoo_latent.networks.vq import VQConfig, VQModel
from zoo_latent.text.clip import ClipConfig, ClipText, clip_tensors
from zoo_latent.text.t5 import T5Tokenizer
from zoo_latent.text.tokenizer import ClipTokenizer

Autoencoder = AutoencoderKL | VQModel | AutoencoderTiny


def _kl(config: Mapping[str, Any], source: str) -> Callable[[], Autoencoder]:
    read = AutoencoderKLConfig.from_json(config, source)
    return lambda: AutoencoderKL(read)


def _vq(config: Mapping[str, Any], source: str) -> Callable[[], Autoencoder]:
    read = VQConfig.from_json(config, source)
    return lambda: VQModel(read)


def _tiny(config: Mapping[str, Any], source: str) -> Callable[[], Autoencoder]:
    read = TinyConfig.from_json(config, source)
    return lambda: AutoencoderTiny(read)


AUTOENCODERS = {"AutoencoderKL": _kl, "VQModel": _vq, "AutoencoderTiny": _tiny}
"""For each class of autoencoder, what reads its config and returns what builds it."""


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
    t5: tuple[Part, Callable[[int], T5Tokenizer]] | None = None
    """A third text encoder, which a copy of the checkpoint may lack."""


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
    t5 = None
    if _names_a_class(index.get("text_encoder_3")):
        if not checkpoint.has("text_encoder_3/config.json"):
            raise WeightsError(
                f"{checkpoint.source} names a third text encoder, T5, and has no text_encoder_3/config.json.",
                'Get a complete copy of the checkpoint, or write "text_encoder_3": [null, null] into its '
                "model_index.json to run it without T5.",
            )
        t5 = part("text_encoder_3"), lambda size: T5Tokenizer.read(checkpoint, "tokenizer_3/", size)
    denoiser = next((f for f in ("unet", "transformer") if checkpoint.has(f"{f}/config.json")), "unet")
    autoencoder = "vqvae" if checkpoint.has("vqvae/config.json") else "vae"
    return Parts(
        index,
        part(denoiser),
        part(autoencoder),
        tuple(map(encoder, suffixes)),
        checkpoint.json("scheduler/scheduler_config.json"),
        checkpoint.source,
        t5,
    )


def _names_a_class(entry: object) -> bool:
    """Return True if an entry of model_index.json names a library and a class: parts may be left out."""
    return isinstance(entry, list) and len(entry) == 2 and all(isinstance(name, str) for name in entry)


def build_unet(part: Part, dtype: torch.dtype, device: torch.device) -> UNet:
    """Build the U-Net; WeightsError if it is another network, or its tensors do not fit."""
    require_class(part, "UNet2DConditionModel")
    config = UNetConfig.from_json(part.config, part.source)
    return load_network(lambda: UNet(config), part.tensors(), part.source, dtype, device)


def build_mmdit(part: Part, dtype: torch.dtype, device: torch.device) -> MMDiT:
    """Build the multimodal transformer; WeightsError if it is another network, or its tensors do not fit."""
    require_class(part, "SD3Transformer2DModel")
    config = MMDiTConfig.from_json(part.config, part.source)
    return load_network(lambda: MMDiT(config), part.tensors(), part.source, dtype, device)


def build_autoencoder(part: Part, dtype: torch.dtype, device: torch.device) -> Autoencoder:
    """Build the autoencoder; WeightsError if it is another network, or its tensors do not fit."""
    name, tensors = require_class(part, *AUTOENCODERS), current_names(part.tensors())
    build = AUTOENCODERS[name](part.config, part.source)
    return load_network(build, tensors, part.source, dtype, device)


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


def require_class(part: Part, *expected: str) -> str:
    """Return the class of a network; WeightsError if it is none of ``expected``."""
    name = part.config.get("_class_name", expected[0])
    if name not in expected:
        raise WeightsError(
            f"{part.source}: the network is {name!r}; zoo-latent reads {' or '.join(expected)} here.",
            "Use a checkpoint that zoo-latent supports; its README lists them.",
        )
    return str(name)
