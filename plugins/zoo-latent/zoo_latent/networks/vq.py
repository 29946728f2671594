"""VQModel: images to latents that are vectors of a codebook, and back.

Van den Oord et al. 2017 (arXiv:1711.00937); Rombach et al. 2022 (arXiv:2112.10752), section 3.1, where the
denoiser works before quantization and the decoder begins with it. Parameters are named as in diffusers'
``VQModel`` (CompVis/ldm-celebahq-256).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from zoo_latent.config import Positive, Size, read_published
from zoo_latent.networks.autoencoder_kl import Decoder, Encoder, check_levels

ONLY: Mapping[str, Any] = {"act_fn": "silu", "lookup_from_codebook": False, "norm_type": "group"}
WITHOUT_EFFECT = frozenset({"sample_size", "force_upcast"})


@dataclass(frozen=True)
class VQConfig:
    """What an autoencoder is made of: the settings of config.json, with their defaults."""

    in_channels: Size = 3
    out_channels: Size = 3
    down_block_types: tuple[Literal["DownEncoderBlock2D"], ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[Literal["UpDecoderBlock2D"], ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[Size, ...] = (64,)
    layers_per_block: Size = 1
    latent_channels: Size = 3
    num_vq_embeddings: Size = 256
    norm_num_groups: Size = 32
    vq_embed_dim: Size | None = None
    """Channels of the latents; None: ``latent_channels``."""
    scaling_factor: Positive = 0.18215
    mid_block_add_attention: bool = True

    def __post_init__(self) -> None:
        check_levels(self)

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str) -> VQConfig:
        """Read a config.json; WeightsError names a setting that is unknown or not implemented."""
        return read_published(cls, config, source, only=ONLY, ignore=WITHOUT_EFFECT)

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return self.vq_embed_dim or self.latent_channels

    @property
    def factor(self) -> int:
        """Height and width of an image over those of its latents."""
        return 1 << (len(self.block_out_channels) - 1)


class VQModel(nn.Module):
    """The autoencoder; its latents are scaled as the denoiser sees them."""

    def __init__(self, config: VQConfig) -> None:
        super().__init__()
        self.config = config
        c, dim = config.latent_channels, config.channels
        shape = (
            config.block_out_channels,
            config.layers_per_block,
            config.norm_num_groups,
            config.mid_block_add_attention,
        )
        self.encoder = Encoder(config.in_channels, c, *shape)
        self.quant_conv = nn.Conv2d(c, dim, 1)
        self.quantize = nn.ModuleDict({"embedding": nn.Embedding(config.num_vq_embeddings, dim)})
        self.post_quant_conv = nn.Conv2d(dim, c, 1)
        self.decoder = Decoder(c, config.out_channels, *shape)

    def encode(self, images: Tensor, normal: Tensor | None = None) -> Tensor:
        """Map images (n, 3, h, w) in [-1, 1] to latents (n, c, h/factor, w/factor), before quantization."""
        latents: Tensor = self.quant_conv(self.encoder(images)) * self.config.scaling_factor
        return latents

    def decode(self, latents: Tensor) -> Tensor:
        """Map latents (n, c, h, w) to images (n, 3, factor·h, factor·w) by the nearest codebook vectors."""
        z = latents / self.config.scaling_factor
        codebook = self.quantize["embedding"].get_parameter("weight")
        flat = z.permute(0, 2, 3, 1).flatten(0, 2)  # (n · h · w, c)
        codes = torch.cdist(flat.float(), codebook.float()).argmin(dim=1)
        nearest = codebook[codes].view(len(z), *z.shape[2:], -1).permute(0, 3, 1, 2)
        images: Tensor = self.decoder(self.post_quant_conv(nearest))
        return images
