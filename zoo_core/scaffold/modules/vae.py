"""The networks of a small variational autoencoder (Kingma & Welling 2014, arXiv:1312.6114).

The decoder computes the output at a position from a latent and the position's coordinates (as Stanley 2007,
"Compositional Pattern Producing Networks"), so that the same network works for images and texts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Hyperparameters, stored in ``config.json`` beside the weights."""

    shape: tuple[int, ...]
    """Shape of a sample: (h, w) of an image, (length,) of a text."""
    outputs: int
    """Numbers per position: channels, or logits of tokens."""
    z_dim: int = 16
    width: int = 48

    @property
    def positions(self) -> int:
        """Number of positions in a sample."""
        return math.prod(self.shape)


class Decoder(nn.Module):
    """Map a latent to the output at every position."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.latent = nn.Linear(config.z_dim, config.width)
        self.position = nn.Linear(3 * len(config.shape), config.width)
        self.hidden_1 = nn.Linear(config.width, config.width)
        self.hidden_2 = nn.Linear(config.width, config.width)
        self.last = nn.Linear(config.width, config.outputs)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents (n, z_dim) to (n, positions, outputs)."""
        at = coordinates(self.config.shape, z.device).to(z.dtype)  # (positions, 3 · dimensions)
        x = torch.tanh(self.latent(z)[:, None] + self.position(at))
        x = torch.tanh(self.hidden_2(torch.tanh(self.hidden_1(x))))
        return self.last(x)  # type: ignore[no-any-return]


class Encoder(nn.Module):
    """Map a sample to the mean and the log-variance of its latent."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.first = nn.Linear(config.positions * config.outputs, 2 * config.width)
        self.last = nn.Linear(2 * config.width, 2 * config.z_dim)

    def forward(self, data: Tensor) -> tuple[Tensor, Tensor]:
        """Map (n, positions, outputs) to two tensors (n, z_dim)."""
        mean, log_variance = self.last(torch.relu(self.first(data.flatten(1)))).chunk(2, dim=1)
        return mean, log_variance


def coordinates(shape: tuple[int, ...], device: torch.device) -> Tensor:
    """Return each position's coordinates in [-1, 1] and two waves along each: (positions, 3 · dimensions)."""
    axes = [torch.linspace(-1, 1, extent, device=device) for extent in shape]
    grid = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1).flatten(0, -2)
    return torch.cat([grid, torch.sin(4 * grid), torch.cos(9 * grid)], dim=-1)


def negative_elbo(mean: Tensor, log_variance: Tensor, likelihood: Tensor) -> Tensor:
    """Return the mean negative evidence lower bound in nats, given log-likelihoods (n,)."""
    divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1)
    return (divergence - likelihood).mean()
