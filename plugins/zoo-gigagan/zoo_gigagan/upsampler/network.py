"""GigaGAN's upsampler: a U-Net that makes an image four times as large, controlled by a style.

Kang et al. 2023, arXiv:2303.05511, section 3.4, as in the AuraSR checkpoints: residual blocks of adaptive
convolutions, attention at low resolutions, nearest-neighbour upsampling. From the bottom up: config, levels,
network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import read_config
from zoo_gigagan.adaptive_conv import AdaptiveConv
from zoo_gigagan.resolutions import Size
from zoo_gigagan.upsampler.layers import ResnetBlock, StyleNetwork, Transformer

MODEL_TYPE = "gigagan-upsampler"
FACTOR = 4
"""Output side over input side."""
MAX_LEVELS = 15


@dataclass(frozen=True)
class StyleNetworkConfig:
    """The architecture of the style network."""

    dim_in: Size
    dim_out: Size
    depth: Size


@dataclass(frozen=True)
class UpsamplerConfig:
    """The architecture of an upsampler; names are those of AuraSR's config.json."""

    style_network: StyleNetworkConfig
    dim: Size
    image_size: Size
    input_image_size: Size
    up_dim_mults: tuple[Size, ...] = (1, 2, 4, 8, 16)
    """Channels of the upward levels in units of ``dim``, the largest map first."""
    down_dim_mults: tuple[Size, ...] = (4, 8, 16)
    full_attn: tuple[bool, ...] = (False, False, False, True, True)
    """Which levels have attention: downward levels count from the first, upward levels from the last."""
    self_attn_dim_head: Size = 64
    self_attn_heads: Size = 8
    attn_depths: tuple[Size, ...] = (2, 2, 2, 2, 4)
    mid_attn_depth: Size = 4
    num_conv_kernels: Size = 4
    skip_connect_scale: float = 2**-0.5
    blocks: Size = 6
    """Residual blocks of a level; not in published configs."""
    unconditional: bool = True
    residual: bool = False
    """Whether the output is added to the bicubically upsampled input; False in published checkpoints."""

    def __post_init__(self) -> None:
        sides, levels = (self.image_size, self.input_image_size), len(self.up_dim_mults)
        if any(side & (side - 1) for side in sides) or self.image_size != FACTOR * self.input_image_size:
            raise ValueError(
                f"image_size is {self.image_size} and input_image_size {self.input_image_size}; expected "
                f"powers of two, the first {FACTOR} times the second."
            )
        if levels > MAX_LEVELS or len(self.down_dim_mults) != levels - 2:
            raise ValueError(
                f"up_dim_mults has {levels} levels and down_dim_mults {len(self.down_dim_mults)}; expected "
                f"at most {MAX_LEVELS}, and two fewer."
            )
        if min(len(self.full_attn), len(self.attn_depths)) < levels:
            raise ValueError(f"full_attn and attn_depths need an entry for each of {levels} levels.")
        if not self.unconditional:
            raise ValueError("unconditional is False; text-conditioned upsamplers are not supported.")

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str) -> UpsamplerConfig:
        """Read the config.json of an AuraSR checkpoint, or of one that was trained here.

        Raises:
            WeightsError: A setting is missing, unknown, or not supported.
        """
        return read_config(cls, config, f"{source}: config.json", ignore=("model_type",))


class Level(nn.ModuleList):
    """The blocks at one resolution, attention after them, and the layer that halves or doubles the sides.

    Checkpoints number the parts: ``0`` is the blocks; ``1.0`` and ``1.1`` are attention and downsampling, or
    upsampling and attention.
    """

    def __init__(
        self, blocks: Iterable[ResnetBlock], attention: nn.Module | None, resample: nn.Module, *, is_up: bool
    ) -> None:
        pair = nn.Module()
        for name, part in zip("01", (resample, attention) if is_up else (attention, resample), strict=True):
            pair.add_module(name, part)
        super().__init__([nn.ModuleList(blocks), pair])
        self.is_up = is_up

    @property
    def blocks(self) -> list[ResnetBlock]:
        """The residual blocks."""
        blocks = self[0]
        assert isinstance(blocks, nn.ModuleList)
        return [block for block in blocks if isinstance(block, ResnetBlock)]

    @property
    def attention(self) -> nn.Module | None:
        """The attention, where the config has it."""
        return self[1]._modules["1" if self.is_up else "0"]

    @property
    def resample(self) -> nn.Module:
        """The strided convolution after the blocks, or the upsampling before them."""
        return self[1].get_submodule("0" if self.is_up else "1")


class Upsample(nn.Module):
    """Nearest-neighbour upsampling by two, and a convolution."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, 2h, 2w)."""
        y: Tensor = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return y


def _attention(config: UpsamplerConfig, index: int, channels: int) -> Transformer | None:
    if not config.full_attn[index]:
        return None
    return Transformer(channels, config.self_attn_heads, config.self_attn_dim_head, config.attn_depths[index])


class Upsampler(nn.Module):
    """The upsampler network. Tensors have the names of the AuraSR checkpoints."""

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        up = [config.dim, *(config.dim * mult for mult in config.up_dim_mults)]
        down = [up[-1 - len(config.down_dim_mults)], *(config.dim * mult for mult in config.down_dim_mults)]
        style = config.style_network
        self.style_network = StyleNetwork(style.dim_in, style.dim_out, style.depth)
        self.init_conv = nn.Conv2d(3, down[0], 7, padding=3)
        self.downs = nn.ModuleList()
        kernels = config.num_conv_kernels
        for index, (width, wider) in enumerate(pairwise(down)):
            downsample = nn.Conv2d(width, wider, 3, stride=2, padding=1)
            attention = _attention(config, index, width)
            blocks = [ResnetBlock(width, width, kernels) for _ in range(config.blocks)]
            self.downs.append(Level(blocks, attention, downsample, is_up=False))
        self.mid_block1 = ResnetBlock(up[-1], up[-1], kernels)
        self.mid_attn = Transformer(
            up[-1], config.self_attn_heads, config.self_attn_dim_head, config.mid_attn_depth
        )
        self.mid_block2 = ResnetBlock(up[-1], up[-1], kernels)
        self.ups = nn.ModuleList()
        for index in reversed(range(len(config.up_dim_mults))):
            wider, width = up[index + 1], up[index]
            attention = _attention(config, index, width)
            upsample = Upsample(wider, width)
            has_skips = len(self.ups) < len(self.downs)
            block_in = 2 * width if has_skips else width
            blocks = [ResnetBlock(block_in, width, kernels) for _ in range(config.blocks)]
            self.ups.append(Level(blocks, attention, upsample, is_up=True))
        self.final_res_block = ResnetBlock(config.dim, config.dim, kernels)
        self.final_to_rgb = nn.Conv2d(config.dim, 3, 1)
        if config.residual:  # training starts from bicubic upsampling
            nn.init.zeros_(self.final_to_rgb.weight)
            nn.init.zeros_(self.final_to_rgb.bias)  # type: ignore[arg-type]
        self.widths = [width for conv in self.convolutions for width in (conv.weights.shape[2], kernels)]
        self.style_to_conv_modulations = nn.Linear(style.dim_out, sum(self.widths))

    @property
    def blocks(self) -> list[ResnetBlock]:
        """The residual blocks, in the order in which ``style_to_conv_modulations`` lays them out."""
        down, up = (
            [block for level in levels if isinstance(level, Level) for block in level.blocks]
            for levels in (self.downs, self.ups)
        )
        return [*down, self.mid_block1, self.mid_block2, *up, self.final_res_block]

    @property
    def convolutions(self) -> list[AdaptiveConv]:
        """The adaptive convolutions, in the same order."""
        return [conv for block in self.blocks for conv in block.convolutions]

    def kernels(self, styles: Tensor) -> list[Tensor]:
        """Return the kernels for styles (n, d): (n, out, in, 3, 3) for each convolution.

        The tiles of an image share a style, and so the kernels are computed once for all of them.
        """
        parts = torch.split(self.style_to_conv_modulations(styles), self.widths, dim=1)
        return [
            conv.kernel(modulation, selection)
            for conv, modulation, selection in zip(self.convolutions, parts[::2], parts[1::2], strict=True)
        ]

    def forward(self, x: Tensor, kernels: Sequence[Tensor]) -> Tensor:
        """Map noisy images (n, 3, s, s) in [0, 1] to (n, 3, 4s, 4s), about in [0, 1], by :meth:`kernels`."""
        remaining = iter(kernels)
        image, x = x, self.init_conv(x)
        skips: list[Tensor] = []
        for down in self.downs:
            assert isinstance(down, Level)
            for block in down.blocks:
                x = _apply(block, x, remaining)
                skips.append(x)
            x = x if down.attention is None else down.attention(x)
            x = down.resample(x)
        x = _apply(self.mid_block2, self.mid_attn(_apply(self.mid_block1, x, remaining)), remaining)
        for up in self.ups:
            assert isinstance(up, Level)
            x = up.resample(x)
            for block in up.blocks:
                if skips:
                    x = torch.cat([x, skips.pop() * self.config.skip_connect_scale], dim=1)
                x = _apply(block, x, remaining)
            x = x if up.attention is None else up.attention(x)
        y: Tensor = self.final_to_rgb(_apply(self.final_res_block, x, remaining))
        if self.config.residual:
            return y + F.interpolate(image, scale_factor=FACTOR, mode="bicubic")
        return y


def _apply(block: ResnetBlock, x: Tensor, kernels: Iterator[Tensor]) -> Tensor:
    y: Tensor = block(x, next(kernels), next(kernels))
    return y
