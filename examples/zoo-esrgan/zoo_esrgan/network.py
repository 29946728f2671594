"""The two networks of Real-ESRGAN (Wang et al. 2021, arXiv:2107.10833).

The large one is ESRGAN's generator (Wang et al. 2018, arXiv:1809.00219, figure 4): residual-in-residual
dense blocks without batch normalisation. The compact one is a chain of convolutions with PReLU; the last
gives every pixel its four by four, which is added to the image enlarged without interpolation.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Annotated

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from zoo_core import Between

FACTOR = 4
"""Output side over input side."""
RESIDUAL = 0.2
"""Scale of what a block adds (ESRGAN, section 3.1)."""


@dataclass(frozen=True)
class Dense:
    """The architecture of the large network."""

    blocks: Annotated[int, Between(1, 64)] = 23
    width: Annotated[int, Between(1, 512)] = 64
    growth: Annotated[int, Between(1, 256)] = 32

    @property
    def halo(self) -> int:
        """Pixels of the surroundings that a pixel's result depends on.

        It could be 350; in the published weights what lies beyond 64 changes a level by less than 0.2, on
        a scene, a text and noise.
        """
        return 64


@dataclass(frozen=True)
class Compact:
    """The architecture of the compact network."""

    layers: Annotated[int, Between(1, 64)] = 16
    """Convolutions between the first and the last."""
    width: Annotated[int, Between(1, 512)] = 64

    @property
    def halo(self) -> int:
        """Pixels of the surroundings that a pixel's result depends on: one for each convolution."""
        return self.layers + 2


def conv(inputs: int, outputs: int) -> nn.Conv2d:
    """Return a 3×3 convolution that keeps the size."""
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def leaky(x: Tensor) -> Tensor:
    """Return the activation of the large network."""
    return F.leaky_relu(x, 0.2)


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees the block's input and all results before it."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        outputs = [growth] * 4 + [width]
        self.convs = nn.ModuleList(conv(width + i * growth, each) for i, each in enumerate(outputs))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, width, h, w), like ``x``."""
        seen = [x]
        for layer in self.convs[:-1]:
            seen.append(leaky(layer(torch.cat(seen, 1))))
        added: Tensor = self.convs[-1](torch.cat(seen, 1))
        return x + RESIDUAL * added


class ResidualBlock(nn.Module):
    """Three dense blocks, and the input beside them."""

    def __init__(self, width: int, growth: int) -> None:
        super().__init__()
        self.dense = nn.Sequential(*(DenseBlock(width, growth) for _ in range(3)))

    def forward(self, x: Tensor) -> Tensor:
        """Return (n, width, h, w), like ``x``."""
        added: Tensor = self.dense(x)
        return x + RESIDUAL * added


class DenseNetwork(nn.Module):
    """(n, 3, h, w) in [0, 1] to (n, 3, 4h, 4w)."""

    def __init__(self, config: Dense) -> None:
        super().__init__()
        width = config.width
        self.first = conv(3, width)
        self.blocks = nn.Sequential(*(ResidualBlock(width, config.growth) for _ in range(config.blocks)))
        self.after_blocks = conv(width, width)
        self.up = nn.ModuleList([conv(width, width), conv(width, width)])
        self.high = conv(width, width)
        self.last = conv(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale images."""
        x = self.first(x)
        x = x + self.after_blocks(self.blocks(x))
        for layer in self.up:
            x = leaky(layer(F.interpolate(x, scale_factor=2, mode="nearest")))
        result: Tensor = self.last(leaky(self.high(x)))
        return result


class CompactNetwork(nn.Module):
    """(n, 3, h, w) in [0, 1] to (n, 3, 4h, 4w)."""

    def __init__(self, config: Compact) -> None:
        super().__init__()
        widths = [3] + [config.width] * (config.layers + 1)
        self.convs = nn.ModuleList(conv(a, b) for a, b in pairwise(widths))
        self.activations = nn.ModuleList(nn.PReLU(config.width) for _ in self.convs)
        self.last = conv(config.width, 3 * FACTOR**2)

    def forward(self, x: Tensor) -> Tensor:
        """Upscale images."""
        image = x
        for layer, activation in zip(self.convs, self.activations, strict=True):
            x = activation(layer(x))
        return F.pixel_shuffle(self.last(x), FACTOR) + F.interpolate(
            image, scale_factor=FACTOR, mode="nearest"
        )
