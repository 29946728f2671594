"""GigaGAN's text-to-image generator: noise and a prompt to an image, at several resolutions.

Kang et al. 2023, "Scaling up GANs for Text-to-Image Synthesis", arXiv:2303.05511, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gigagan.attention import SelfAttention
from zoo_gigagan.equalized_lr import EqualizedConv, EqualizedLinear
from zoo_gigagan.resolutions import MAX_LEVELS, MIN_RESOLUTION, Size, resolutions
from zoo_gigagan.text_to_image.clip import build_clip
from zoo_gigagan.text_to_image.layers import AdaptiveLayer, CrossAttention, StyleMapping
from zoo_gigagan.text_to_image.text import (
    FIRST_WORD,
    MAX_WORD_LENGTH,
    PretrainedEmbedding,
    TextEmbedding,
    TextEncoder,
    WordEmbedding,
)

MODEL_TYPE = "gigagan-text-to-image"


@dataclass(frozen=True)
class TextToImageConfig:
    """The architecture of a generator."""

    channels: tuple[Size, ...]
    """Channels of the feature maps from 4×4 up, each twice the side of the one before."""
    vocabulary: tuple[str, ...]
    """The words it knows, the most common first; empty if a CLIP encodes the prompts."""
    context: Size = 16
    """Maximum number of words in a prompt."""
    clip: Mapping[str, Any] | None = None
    """Settings of the frozen text encoder below the learned layers; None: word vectors are learned too."""
    z_dim: Size = 64
    w_dim: Size = 192
    kernels: Size = 4
    """Kernels in the bank of each convolution."""
    mapping_layers: Size = 3
    attention: tuple[Size, ...] = (8, 16)
    """Resolutions of the feature maps with attention."""
    heads: Size = 4
    text_width: Size = 128
    text_layers: Size = 2

    def __post_init__(self) -> None:
        if not 2 <= len(self.channels) <= MAX_LEVELS:
            raise ValueError(f"channels has {len(self.channels)} entries; expected 2 to {MAX_LEVELS}.")
        if unknown := set(self.attention) - set(self.sizes):
            raise ValueError(f"attention names {min(unknown)}; feature maps have sides {self.sizes}.")
        attended = [
            width for width, size in zip(self.channels, self.sizes, strict=True) if size in self.attention
        ]
        if any(width % self.heads for width in (*attended, self.text_width)):
            raise ValueError(f"heads is {self.heads}, which does not divide all widths with attention.")
        if not all(0 < len(word) <= MAX_WORD_LENGTH for word in self.vocabulary):
            raise ValueError(f"vocabulary has a word that is empty or over {MAX_WORD_LENGTH} characters.")

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the feature maps, and of the image made from each."""
        return resolutions(len(self.channels))

    @property
    def resolution(self) -> int:
        """Side of the final image."""
        return self.sizes[-1]


class Condition(NamedTuple):
    """What a block is conditioned on, for n images."""

    style: Tensor
    """w: (n, w_dim)."""
    text: TextEmbedding


class SynthesisBlock(nn.Module):
    """Double the side of a feature map to ``size``, and add to the image.

    ``in_channels`` is None in the first block, which has a learned constant instead of an input.
    """

    def __init__(
        self, in_channels: int | None, out_channels: int, size: int, config: TextToImageConfig
    ) -> None:
        super().__init__()
        w_dim, kernels = config.w_dim, config.kernels
        if in_channels is None:
            self.start = nn.Parameter(torch.randn(1, out_channels, size, size))
        else:
            self.widen = AdaptiveLayer(in_channels, out_channels, w_dim, kernels)
        self.layer = AdaptiveLayer(out_channels, out_channels, w_dim, kernels)
        self.self_attention: SelfAttention | None = None
        self.cross_attention: CrossAttention | None = None
        if size in config.attention:
            self.self_attention = SelfAttention(out_channels, config.heads)
            self.cross_attention = CrossAttention(out_channels, config.heads, config.text_width)
        self.rgb_scale = EqualizedLinear(w_dim, out_channels)
        self.to_rgb = EqualizedConv(out_channels, 3, 1)

    def forward(
        self, x: Tensor | None, image: Tensor | None, condition: Condition, noises: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Map x (n, in, h, w) and the image so far (n, 3, h, w) to those of twice the side."""
        style, text = condition
        if x is None:
            x = self.start.expand(len(style), -1, -1, -1)
        else:
            x = _upsample(self.widen(x, style, noises[0]))
        x = self.layer(x, style, noises[-1])
        if self.self_attention is not None and self.cross_attention is not None:
            x = self.cross_attention(self.self_attention(x), text)
        rgb: Tensor = self.to_rgb(x * (1 + self.rgb_scale(style)[:, :, None, None]))
        return x, rgb if image is None else _upsample(image) + rgb


def _upsample(x: Tensor) -> Tensor:
    """Double the sides of (n, c, h, w) bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def text_encoder(config: TextToImageConfig, clip: nn.Module | None = None) -> TextEncoder:
    """Build the text encoder of a generator, untrained, above ``clip``; None: a CLIP without weights."""
    width = config.text_width
    read: nn.Module
    if config.clip is None:
        read = WordEmbedding(FIRST_WORD + len(config.vocabulary), config.context + 1, width)
    else:
        read = PretrainedEmbedding(
            clip or build_clip(config.clip), int(config.clip.get("hidden_size", 0)), width
        )
    return TextEncoder(read, width, config.text_layers, config.heads)


class TextToImage(nn.Module):
    """The generator network; for ``clip`` see :func:`text_encoder`."""

    def __init__(self, config: TextToImageConfig, clip: nn.Module | None = None) -> None:
        super().__init__()
        self.config = config
        self.text = text_encoder(config, clip)
        self.mapping = StyleMapping(config.z_dim, config.text_width, config.w_dim, config.mapping_layers)
        before = (None, *config.channels)
        self.blocks = nn.ModuleList(
            SynthesisBlock(in_channels, out_channels, size, config)
            for in_channels, out_channels, size in zip(before, config.channels, config.sizes, strict=False)
        )

    @property
    def noise_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Sides of the noise maps of each block."""
        return tuple((size,) if size == MIN_RESOLUTION else (size // 2, size) for size in self.config.sizes)

    def condition(self, z: Tensor, tokens: Tensor) -> Condition:
        """Return the condition that z (n, z_dim) and prompts' tokens (n, length) give."""
        text = self.text(tokens)
        return Condition(self.mapping(z, text.t_global), text)

    def forward(self, conditions: Sequence[Condition], noises: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Generate n images.

        Args:
            conditions: One per block, from the smallest map up; they differ where prompts are mixed.
            noises: Standard normal maps (n, 1, side, side) for each block; their sides are ``noise_sizes``.

        Returns:
            The image at every resolution, the smallest first: (n, 3, side, side), about in [-1, 1].
        """
        x: Tensor | None = None
        images: list[Tensor] = []
        for block, condition, maps in zip(self.blocks, conditions, noises, strict=True):
            x, image = block(x, images[-1] if images else None, condition, maps)
            images.append(image)
        return images
