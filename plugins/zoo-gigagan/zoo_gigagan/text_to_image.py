"""GigaGAN's generator: noise and a prompt to an image, at several sizes.

Kang et al. 2023, "Scaling up GANs for Text-to-Image Synthesis", arXiv:2303.05511, section 3.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gigagan.attention import CrossAttention, SelfAttention
from zoo_gigagan.clip import ClipConfig, ClipText
from zoo_gigagan.equalized import EqualizedConv, EqualizedLinear, leaky_relu
from zoo_gigagan.layers import AdaptiveConv
from zoo_gigagan.text import FIRST, Embedding, Pretrained, Text, TextEncoder

SMALLEST = 4
"""Side of the map that an image begins as."""
MAPPING_RATE = 0.01
"""How fast the style mapping learns beside the rest: arXiv:1812.04948, appendix C."""


@dataclass(frozen=True)
class TextToImageConfig:
    """The shape of a generator."""

    channels: tuple[int, ...]
    """Of the feature maps from 4×4 up, each twice the side of the one before."""
    vocabulary: tuple[str, ...]
    """The words it knows, the most common first; none where a CLIP reads the prompts."""
    context: int = 16
    """Words of a prompt at most."""
    clip: ClipConfig | None = None
    """The pretrained encoder under the learned layers; None: word vectors are learned too."""
    z_dim: int = 64
    w_dim: int = 192
    kernels: int = 4
    """Among which each convolution chooses."""
    mapping_layers: int = 3
    attention: tuple[int, ...] = (8, 16)
    """Sides of the maps that have attention."""
    heads: int = 4
    text_width: int = 128
    text_layers: int = 2

    @property
    def sizes(self) -> tuple[int, ...]:
        """Sides of the feature maps and of the images drawn of them."""
        return tuple(SMALLEST << level for level in range(len(self.channels)))

    @property
    def resolution(self) -> int:
        """Side of the image."""
        return self.sizes[-1]


class Condition(NamedTuple):
    """What a block of the generator is told of n images."""

    style: Tensor
    """w: (n, w_dim)."""
    text: Text


class StyleMapping(nn.Module):
    """Noise and the whole prompt's descriptor to styles: equation 4.

    Args:
        config: The generator's.
    """

    def __init__(self, config: TextToImageConfig) -> None:
        super().__init__()
        self.embed = EqualizedLinear(config.text_width, config.w_dim)
        widths = [config.z_dim + config.w_dim, *[config.w_dim] * config.mapping_layers]
        self.layers = nn.ModuleList(
            EqualizedLinear(into, out, MAPPING_RATE) for into, out in itertools.pairwise(widths)
        )

    def forward(self, z: Tensor, whole: Tensor) -> Tensor:
        """Map z (n, z_dim) and t_global (n, width) to (n, w_dim)."""
        x = torch.cat([_normalized(z), _normalized(self.embed(whole))], 1)
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x


def _normalized(x: Tensor) -> Tensor:
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class AdaptiveLayer(nn.Module):
    """A convolution whose kernel the style chooses and scales (equations 2, 3), noise, and an activation."""

    def __init__(self, into: int, out: int, config: TextToImageConfig) -> None:
        super().__init__()
        self.scale = EqualizedLinear(config.w_dim, into)
        self.select = EqualizedLinear(config.w_dim, config.kernels)
        self.conv = AdaptiveConv(into, out, config.kernels, deviation=1.0)
        self.noise = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w) by w (n, w_dim) and noise (n, 1, h, w)."""
        made = self.conv(x, self.conv.kernel(self.scale(style), self.select(style)))
        return leaky_relu(made + noise * self.noise + self.bias[:, None, None])


class Block(nn.Module):
    """A map to one of twice the side, and what it adds to the image.

    Args:
        into: Channels read; None in the first block, which begins with a learned map.
        out: Channels made.
        size: Side of the map made.
        config: The generator's.
    """

    def __init__(self, into: int | None, out: int, size: int, config: TextToImageConfig) -> None:
        super().__init__()
        if into is None:
            self.start = nn.Parameter(torch.randn(1, out, size, size))
        else:
            self.widen = AdaptiveLayer(into, out, config)
        self.layer = AdaptiveLayer(out, out, config)
        has_attention = size in config.attention
        self.self_attention = SelfAttention(out, config.heads) if has_attention else None
        self.cross_attention = CrossAttention(out, config.heads, config.text_width) if has_attention else None
        self.rgb_scale = EqualizedLinear(config.w_dim, out)
        self.to_rgb = EqualizedConv(out, 3, 1)

    def forward(
        self, x: Tensor | None, image: Tensor | None, condition: Condition, noises: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Map x (n, in, h, w) and the image so far (n, 3, h, w) to those of twice the side."""
        style, text = condition
        if x is None:
            x = self.start.expand(len(style), -1, -1, -1)
        else:
            x = enlarged(self.widen(x, style, noises[0]))
        x = self.layer(x, style, noises[-1])
        if self.self_attention is not None and self.cross_attention is not None:
            x = self.cross_attention(self.self_attention(x), text)
        drawn: Tensor = self.to_rgb(x * (1 + self.rgb_scale(style)[:, :, None, None]))
        return x, drawn if image is None else enlarged(image) + drawn


def enlarged(x: Tensor) -> Tensor:
    """Double the sides of (n, c, h, w), bilinearly."""
    return F.interpolate(x, scale_factor=2, mode="bilinear", align_corners=False)


def text_encoder(config: TextToImageConfig, clip: ClipText | None = None) -> TextEncoder:
    """Build a fresh encoder of the prompts that a generator of this shape reads.

    Args:
        config: The generator's.
        clip: The pretrained one under it; None: one without weights, where the config names one.
    """
    width = config.text_width
    read: nn.Module
    if config.clip is None:
        read = Embedding(FIRST + len(config.vocabulary), config.context + 1, width)
    else:
        read = Pretrained(clip or ClipText(config.clip), config.clip.hidden_size, width)
    return TextEncoder(read, width, config.text_layers, config.heads)


class TextToImage(nn.Module):
    """The generator.

    Args:
        config: Its shape.
        clip: The pretrained encoder of prompts, with its weights; see ``text_encoder``.
    """

    def __init__(self, config: TextToImageConfig, clip: ClipText | None = None) -> None:
        super().__init__()
        self.config = config
        self.text = text_encoder(config, clip)
        self.mapping = StyleMapping(config)
        before = (None, *config.channels)
        self.blocks = nn.ModuleList(
            Block(into, out, size, config)
            for into, out, size in zip(before, config.channels, config.sizes, strict=False)
        )

    @property
    def noise_sizes(self) -> tuple[tuple[int, ...], ...]:
        """Sides of the noise maps of each block."""
        return tuple((size,) if size == SMALLEST else (size // 2, size) for size in self.config.sizes)

    def condition(self, z: Tensor, tokens: Tensor) -> Condition:
        """Make of z (n, z_dim) and prompts (n, length) what blocks are told."""
        text = self.text(tokens)
        return Condition(self.mapping(z, text.whole), text)

    def forward(self, conditions: Sequence[Condition], noises: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Draw images of n samples.

        Args:
            conditions: One for each block, from the smallest map up; they differ where prompts are mixed.
            noises: Standard normal maps (n, 1, side, side), ``noise_sizes`` of each block.

        Returns:
            The images of every size, from the smallest up: (n, 3, side, side), about in [-1, 1].
        """
        x: Tensor | None = None
        images: list[Tensor] = []
        for block, condition, maps in zip(self.blocks, conditions, noises, strict=True):
            x, image = block(x, images[-1] if images else None, condition, maps)
            images.append(image)
        return images
