"""The networks of a small GAN (Radford et al. 2016, arXiv:1511.06434; norms as in Karras et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Hyperparameters, stored in ``config.json`` beside the weights."""

    z_dim: int = 64
    width: int = 24
    """Channels of every layer."""
    size: int = 32
    """Side of an image: 4 times a power of two."""
    channels: int = 3

    @property
    def upsamplings(self) -> int:
        """Number of upsampling layers, from 4×4 to ``size``."""
        return (self.size // 4).bit_length() - 1


class Generator(nn.Module):
    """Map latents to images, from 4×4 pixels up."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.start = nn.Linear(config.z_dim, 16 * config.width)
        self.layers = nn.ModuleList(
            nn.Conv2d(config.width, config.width, 3, padding=1) for _ in range(config.upsamplings)
        )
        self.last = nn.Conv2d(config.width, config.channels, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (n, z_dim) to images (n, c, h, w) in [-1, 1]."""
        x = pixel_norm(self.start(z).view(len(z), self.config.width, 4, 4))
        for layer in self.layers:
            x = F.interpolate(x, scale_factor=2.0, mode="nearest")
            x = pixel_norm(F.leaky_relu(layer(x), 0.2))
        return torch.tanh(self.last(x))  # (n, c, size, size)


class Discriminator(nn.Module):
    """Map images to logits: real or generated."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.first = nn.Conv2d(config.channels, config.width, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Conv2d(config.width, config.width, 3, padding=1) for _ in range(config.upsamplings)
        )
        self.last = nn.Linear(16 * config.width, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, c, h, w) to logits (n,), positive for real ones."""
        x = F.leaky_relu(self.first(images), 0.2)
        for layer in self.layers:
            x = F.avg_pool2d(F.leaky_relu(layer(x), 0.2), 2)
        return self.last(x.flatten(1)).squeeze(1)  # type: ignore[no-any-return]


def pixel_norm(x: Tensor) -> Tensor:
    """Normalise the channels of every pixel to a mean square of one."""
    return x * torch.rsqrt(x.square().mean(1, keepdim=True) + 1e-8)
