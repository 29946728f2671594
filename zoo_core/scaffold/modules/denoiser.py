"""A small U-Net that predicts v from a noisy image, and the noise schedule.

Ho et al. 2020 (arXiv:2006.11239) for the network; Nichol & Dhariwal 2021 (arXiv:2102.09672, equation 17) for
the schedule. The network predicts v = √ᾱ ε − √(1 − ᾱ) x_0 (Salimans & Ho 2022, arXiv:2202.00512).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Hyperparameters, stored in ``config.json`` beside the weights."""

    size: int = 16
    """Side of an image; even."""
    channels: int = 3
    width: int = 24
    timesteps: int = 100
    """Number of steps from an image to noise."""


class Block(nn.Module):
    """A residual block of two convolutions, with the time embedding added between them."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(4, width), nn.GroupNorm(4, width)
        self.conv_1 = nn.Conv2d(width, width, 3, padding=1)
        self.time = nn.Linear(width, width)
        self.conv_2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Map (n, width, h, w) and (n, width) to (n, width, h, w)."""
        h = self.conv_1(F.silu(self.norm_1(x))) + self.time(time)[:, :, None, None]
        return x + self.conv_2(F.silu(self.norm_2(h)))  # type: ignore[no-any-return]


class Denoiser(nn.Module):
    """Predict v from a noisy image and its time."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.first = nn.Conv2d(config.channels, config.width, 3, padding=1)
        self.down, self.middle, self.up = (Block(config.width) for _ in range(3))
        self.join = nn.Conv2d(2 * config.width, config.width, 1)
        self.last = nn.Conv2d(config.width, config.channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return v (n, c, h, w) for noisy images at times (n,), integers from 1."""
        time = embed(t, self.config.width).to(x.dtype)
        fine = self.down(self.first(x), time)
        coarse = self.middle(F.avg_pool2d(fine, 2), time)
        joined = torch.cat([fine, F.interpolate(coarse, scale_factor=2.0, mode="nearest")], dim=1)
        return self.last(self.up(self.join(joined), time))  # type: ignore[no-any-return]


def embed(t: Tensor, width: int) -> Tensor:
    """Return sines and cosines of times (n,) at frequencies from 1 to 1/10,000: (n, width)."""
    frequencies = torch.exp(-math.log(10_000) * torch.arange(width // 2, device=t.device) / (width // 2))
    angles = t[:, None].float() * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=1)


def alpha_bar(t: Tensor, timesteps: int) -> Tensor:
    """Return ᾱ at times t, the image's share of the variance: 1 at t = 0, near 0 at ``timesteps``."""
    s = 0.008
    angle = (t.double() / timesteps + s) / (1 + s) * math.pi / 2
    return (angle.cos() ** 2 / math.cos(s / (1 + s) * math.pi / 2) ** 2).clamp(min=1e-6)
