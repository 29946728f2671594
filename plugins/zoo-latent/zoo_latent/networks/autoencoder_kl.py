"""AutoencoderKL: images to latents and back.

Rombach et al. 2022, "High-Resolution Image Synthesis with Latent Diffusion Models" (arXiv:2112.10752),
section 3.1 and appendix G: a convolutional encoder that gives the mean and variance of a normal distribution
over latents, and a decoder. Parameters are named as in diffusers' ``AutoencoderKL``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_latent.config import Positive, Size, read_published
from zoo_latent.networks.layers import Downsample, ImageAttention, ResnetBlock, Upsample

EPS = 1e-6
"""Epsilon of every group normalisation."""
ONLY: Mapping[str, Any] = {"act_fn": "silu", "latents_mean": None, "latents_std": None}
WITHOUT_EFFECT = frozenset({"sample_size", "force_upcast"})
"""Settings that say nothing about the network: the size it was trained on, and what float16 needs."""


@dataclass(frozen=True)
class AutoencoderKLConfig:
    """What an autoencoder is made of: the settings of config.json, with their defaults."""

    in_channels: Size = 3
    out_channels: Size = 3
    down_block_types: tuple[Literal["DownEncoderBlock2D"], ...] = ("DownEncoderBlock2D",)
    up_block_types: tuple[Literal["UpDecoderBlock2D"], ...] = ("UpDecoderBlock2D",)
    block_out_channels: tuple[Size, ...] = (64,)
    """Channels at each level, from the full resolution down; each further level halves height and width."""
    layers_per_block: Size = 1
    latent_channels: Size = 4
    norm_num_groups: Size = 32
    scaling_factor: Positive = 0.18215
    """Latents are multiplied by it for the denoiser, to have a standard deviation of about 1."""
    shift_factor: float | None = None
    """Subtracted from latents before that."""
    use_quant_conv: bool = True
    use_post_quant_conv: bool = True
    mid_block_add_attention: bool = True

    def __post_init__(self) -> None:
        check_levels(self)

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str) -> AutoencoderKLConfig:
        """Read a config.json; WeightsError names a setting that is unknown or not implemented."""
        return read_published(cls, config, source, only=ONLY, ignore=WITHOUT_EFFECT)

    @property
    def channels(self) -> int:
        """Channels of the latents."""
        return self.latent_channels

    @property
    def factor(self) -> int:
        """Height and width of an image over those of its latents."""
        return 1 << (len(self.block_out_channels) - 1)


def check_levels(config: Any) -> None:
    """Raise ValueError if the block types or the groups do not fit the channels of a config's levels."""
    channels = config.block_out_channels
    for name in ("down_block_types", "up_block_types"):
        if len(getattr(config, name)) != len(channels):
            raise ValueError(
                f"{name} has {len(getattr(config, name))} entries, block_out_channels {len(channels)}."
            )
    if not channels:
        raise ValueError("block_out_channels is empty.")
    if any(c % config.norm_num_groups for c in channels):
        raise ValueError(f"norm_num_groups {config.norm_num_groups} does not divide {channels}.")


class EncoderBlock(nn.Module):
    """One level on the way down: residual blocks, then half size."""

    def __init__(self, c_in: int, c_out: int, layers: int, groups: int, last: bool) -> None:
        super().__init__()
        widths = [c_in] + [c_out] * (layers - 1)
        self.resnets = nn.ModuleList(ResnetBlock(c, c_out, groups, EPS) for c in widths)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(c_out, 0)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c_in, h, w) to (n, c_out, h/2, w/2), or without halving if it is the last."""
        for layer in (*self.resnets, *self.downsamplers):
            x = layer(x)
        return x


class DecoderBlock(nn.Module):
    """One level on the way up: residual blocks, then twice the size."""

    def __init__(self, c_in: int, c_out: int, layers: int, groups: int, last: bool) -> None:
        super().__init__()
        widths = [c_in] + [c_out] * (layers - 1)
        self.resnets = nn.ModuleList(ResnetBlock(c, c_out, groups, EPS) for c in widths)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(c_out)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c_in, h, w) to (n, c_out, 2h, 2w), or without doubling if it is the last."""
        for layer in (*self.resnets, *self.upsamplers):
            x = layer(x)
        return x


class MidBlock(nn.Module):
    """The lowest resolution: attention between two residual blocks."""

    def __init__(self, c: int, groups: int, attention: bool) -> None:
        super().__init__()
        self.resnets = nn.ModuleList(ResnetBlock(c, c, groups, EPS) for _ in range(2))
        self.attentions = nn.ModuleList([ImageAttention(c, 1, groups)] if attention else [])

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        for layer in (self.resnets[0], *self.attentions, self.resnets[1]):
            x = layer(x)
        return x


class Encoder(nn.Module):
    """Images (n, in_channels, h, w) to features (n, out, h/factor, w/factor)."""

    def __init__(
        self, in_channels: int, out: int, channels: tuple[int, ...], layers: int, groups: int, attention: bool
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, channels[0], 3, padding=1)
        lasts = [False] * (len(channels) - 1) + [True]
        self.down_blocks = nn.ModuleList(
            EncoderBlock(c_in, c_out, layers, groups, last)
            for (c_in, c_out), last in zip(pairwise((channels[0], *channels)), lasts, strict=True)
        )
        self.mid_block = MidBlock(channels[-1], groups, attention)
        self.conv_norm_out = nn.GroupNorm(groups, channels[-1], EPS)
        self.conv_out = nn.Conv2d(channels[-1], out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out, h/factor, w/factor)."""
        x = x.contiguous(memory_format=torch.channels_last)  # in which convolutions are faster
        for layer in (self.conv_in, *self.down_blocks, self.mid_block):
            x = layer(x)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return out


class Decoder(nn.Module):
    """Latents (n, in_channels, h, w) to images (n, out, factor·h, factor·w)."""

    def __init__(
        self, in_channels: int, out: int, channels: tuple[int, ...], layers: int, groups: int, attention: bool
    ) -> None:
        super().__init__()
        up = channels[::-1]
        self.conv_in = nn.Conv2d(in_channels, up[0], 3, padding=1)
        self.mid_block = MidBlock(up[0], groups, attention)
        lasts = [False] * (len(up) - 1) + [True]
        self.up_blocks = nn.ModuleList(
            DecoderBlock(c_in, c_out, layers + 1, groups, last)
            for (c_in, c_out), last in zip(pairwise((up[0], *up)), lasts, strict=True)
        )
        self.conv_norm_out = nn.GroupNorm(groups, up[-1], EPS)
        self.conv_out = nn.Conv2d(up[-1], out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in_channels, h, w) to (n, out, factor·h, factor·w)."""
        x = x.contiguous(memory_format=torch.channels_last)  # in which convolutions are faster
        for layer in (self.conv_in, self.mid_block, *self.up_blocks):
            x = layer(x)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return out


class AutoencoderKL(nn.Module):
    """The autoencoder; its latents are scaled and shifted as the denoiser sees them."""

    def __init__(self, config: AutoencoderKLConfig) -> None:
        super().__init__()
        self.config = config
        c = config.latent_channels
        shape = (
            config.block_out_channels,
            config.layers_per_block,
            config.norm_num_groups,
            config.mid_block_add_attention,
        )
        self.encoder = Encoder(config.in_channels, 2 * c, *shape)
        self.decoder = Decoder(c, config.out_channels, *shape)
        self.quant_conv = nn.Conv2d(2 * c, 2 * c, 1) if config.use_quant_conv else None
        self.post_quant_conv = nn.Conv2d(c, c, 1) if config.use_post_quant_conv else None

    def encode(self, images: Tensor, normal: Tensor | None = None) -> Tensor:
        """Map images (n, 3, h, w) in [-1, 1] to latents (n, c, h/factor, w/factor).

        ``normal``, standard normals of the latents' shape, draws from the distribution; None takes its mean.
        """
        mean, log_variance = self.moments(images)
        if normal is not None:
            mean = mean + torch.exp(0.5 * log_variance) * normal
        latents: Tensor = (mean - (self.config.shift_factor or 0.0)) * self.config.scaling_factor
        return latents

    def moments(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map images (n, 3, h, w) in [-1, 1] to the means and log variances of their latents, not scaled yet.

        Both are (n, c, h/factor, w/factor).
        """
        moments = self.encoder(images)
        if self.quant_conv is not None:
            moments = self.quant_conv(moments)
        mean, log_variance = moments.chunk(2, dim=1)
        return mean, log_variance.clamp(-30, 20)

    def decode(self, latents: Tensor) -> Tensor:
        """Map latents (n, c, h, w) to images (n, 3, factor·h, factor·w), about in [-1, 1]."""
        z = latents / self.config.scaling_factor + (self.config.shift_factor or 0.0)
        if self.post_quant_conv is not None:
            z = self.post_quant_conv(z)
        images: Tensor = self.decoder(z)
        return images
