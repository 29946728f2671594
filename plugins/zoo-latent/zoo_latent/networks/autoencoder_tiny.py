"""AutoencoderTiny: a small, fast autoencoder of the latents of another one (TAESD).

Ollin Boer Bohan 2023, github.com/madebyollin/taesd: residual blocks of three convolutions, without norms or
attention. Parameters are named as in diffusers' ``AutoencoderTiny``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from zoo_latent.config import Positive, Size, read_published

ONLY: Mapping[str, Any] = {"act_fn": "relu", "upsample_fn": "nearest", "upsampling_scaling_factor": 2}
WITHOUT_EFFECT = frozenset({"block_out_channels", "force_upcast", "latent_magnitude", "latent_shift"})
"""Settings that repeat others, and how latents can be stored as an image."""


@dataclass(frozen=True)
class TinyConfig:
    """What an autoencoder is made of: the settings of config.json, with their defaults."""

    in_channels: Size = 3
    out_channels: Size = 3
    encoder_block_out_channels: tuple[Size, ...] = (64, 64, 64, 64)
    decoder_block_out_channels: tuple[Size, ...] = (64, 64, 64, 64)
    latent_channels: Size = 4
    num_encoder_blocks: tuple[Size, ...] = (1, 3, 3, 3)
    num_decoder_blocks: tuple[Size, ...] = (3, 3, 3, 1)
    scaling_factor: Positive = 1.0
    shift_factor: float = 0.0

    def __post_init__(self) -> None:
        levels = {
            len(self.encoder_block_out_channels), len(self.decoder_block_out_channels),
            len(self.num_encoder_blocks), len(self.num_decoder_blocks),
        }  # fmt: skip
        if len(levels) > 1 or levels == {0}:
            raise ValueError("the lists of blocks and channels must have one length.")
        if len({*self.encoder_block_out_channels}) + len({*self.decoder_block_out_channels}) > 2:
            raise ValueError("the levels of encoder and decoder must each have one number of channels.")

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str) -> TinyConfig:
        """Read a config.json; WeightsError names a setting that is unknown or not implemented."""
        return read_published(cls, config, source, only=ONLY, ignore=WITHOUT_EFFECT)

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return self.latent_channels

    @property
    def factor(self) -> int:
        """Height and width of an image over those of its latents."""
        return 1 << (len(self.num_decoder_blocks) - 1)


class Block(nn.Module):
    """Three convolutions beside a shortcut, then a ReLU."""

    def __init__(self, c: int) -> None:
        super().__init__()
        convs = [nn.Conv2d(c, c, 3, padding=1) for _ in range(3)]
        self.conv = nn.Sequential(convs[0], nn.ReLU(), convs[1], nn.ReLU(), convs[2])

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        return F.relu(self.conv(x) + x)


class AutoencoderTiny(nn.Module):
    """The autoencoder; its latents are scaled as the denoiser sees them."""

    def __init__(self, config: TinyConfig) -> None:
        super().__init__()
        self.config = config
        c_in, c_out = config.encoder_block_out_channels[0], config.decoder_block_out_channels[0]
        layers: list[nn.Module] = []
        for level, count in enumerate(config.num_encoder_blocks):
            down = nn.Conv2d(c_in, c_in, 3, stride=2, padding=1, bias=False)
            layers.append(down if level else nn.Conv2d(config.in_channels, c_in, 3, padding=1))
            layers += [Block(c_in) for _ in range(count)]
        layers.append(nn.Conv2d(c_in, config.latent_channels, 3, padding=1))
        self.encoder = nn.ModuleDict({"layers": nn.Sequential(*layers)})

        layers = [nn.Conv2d(config.latent_channels, c_out, 3, padding=1), nn.ReLU()]
        for level, count in enumerate(config.num_decoder_blocks):
            layers += [Block(c_out) for _ in range(count)]
            if level == len(config.num_decoder_blocks) - 1:
                layers.append(nn.Conv2d(c_out, config.out_channels, 3, padding=1))
            else:
                layers += [nn.Upsample(scale_factor=2), nn.Conv2d(c_out, c_out, 3, padding=1, bias=False)]
        self.decoder = nn.ModuleDict({"layers": nn.Sequential(*layers)})

    def encode(self, images: Tensor, normal: Tensor | None = None) -> Tensor:
        """Map images (n, 3, h, w) in [-1, 1] to latents (n, c, h/factor, w/factor)."""
        latents: Tensor = self.encoder["layers"]((images + 1) / 2)
        return (latents - self.config.shift_factor) * self.config.scaling_factor

    def decode(self, latents: Tensor) -> Tensor:
        """Map latents (n, c, h, w) to images (n, 3, factor·h, factor·w), about in [-1, 1]."""
        z = latents / self.config.scaling_factor + self.config.shift_factor
        images: Tensor = self.decoder["layers"]((z / 3).tanh() * 3)
        return 2 * images - 1
