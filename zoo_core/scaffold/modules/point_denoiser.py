"""A small network that predicts the noise in points, and its schedule (Ho et al. 2020, arXiv:2006.11239)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Hyperparameters, stored in ``config.json`` beside the weights."""

    dimensions: int = 2
    width: int = 64
    timesteps: int = 50
    """Number of steps from points to noise."""


class PointDenoiser(nn.Module):
    """Predict the noise in points from the points and their time."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.point = nn.Linear(config.dimensions, config.width)
        self.time = nn.Linear(2, config.width)
        self.hidden = nn.Linear(config.width, config.width)
        self.last = nn.Linear(config.width, config.dimensions)

    def forward(self, x: Tensor, t: int) -> Tensor:
        """Return the noise in points (…, dimensions) at time t, from 1 to ``timesteps``."""
        angle = t / self.config.timesteps * math.pi
        time = torch.tensor([math.sin(angle), math.cos(angle)], device=x.device, dtype=x.dtype)
        hidden = torch.tanh(self.hidden(torch.tanh(self.point(x) + self.time(time))))
        return self.last(hidden)  # type: ignore[no-any-return]


def betas(timesteps: int) -> Tensor:
    """Return β_t at index t, (timesteps + 1,); the first is 0."""
    return torch.cat([torch.zeros(1), torch.linspace(0.002, 0.3, timesteps)])
