"""A diffusion model (Ho et al. 2020, DDPM, arXiv:2006.11239), with the paper's symbols."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_toy2d.mlp import mlp


@dataclass(frozen=True)
class Config:
    """Sizes of the network, and the noise schedule."""

    timesteps: int = 100
    """T."""
    beta_first: float = 1e-3
    beta_last: float = 0.15
    """β_1 and β_T; β_t is linear in t."""
    width: int = 96


class Diffusion(nn.Module):
    """The network ε_θ(x_t, t), and the two processes."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.eps = mlp(2 + TIME, config.width, 2)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Predict the noise in points (…, 2) at times (…,), integers from 1 to T."""
        predicted: Tensor = self.eps(torch.cat([x, embed(t / self.config.timesteps).to(x.dtype)], dim=-1))
        return predicted

    def betas(self) -> Tensor:
        """Return β_t at index t, (T + 1,); index 0, the data, has none."""
        config = self.config
        return F.pad(torch.linspace(config.beta_first, config.beta_last, config.timesteps), (1, 0))

    def alpha_bars(self) -> Tensor:
        """Return ᾱ_t at index t, (T + 1,): the share of the data's variance that is left at time t."""
        return (1 - self.betas()).cumprod(0)

    def diffuse(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Return x_t ~ q(x_t | x_0) (equation 4) of points (…, 2), times (…,) and noise (…, 2)."""
        alpha_bar = self.alpha_bars().to(x_0.device)[t][..., None]
        return alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * eps

    def loss(self, x_0: Tensor, random: torch.Generator) -> Tensor:
        """Return the simple loss (equation 14) at random times: Algorithm 1."""
        t = torch.randint(1, self.config.timesteps + 1, x_0.shape[:-1], generator=random)
        eps = torch.randn(x_0.shape, generator=random)
        return F.mse_loss(self(self.diffuse(x_0, t, eps), t), eps)

    def sample(self, x: Tensor, normal: Callable[[], Tensor]) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield x_t and the prediction of x_0 for t = T − 1, …, 0: Algorithm 2.

        Args:
            x: x_T ~ N(0, I), (…, 2).
            normal: Returns new noise of that shape.
        """
        beta, alpha_bar = self.betas().to(x.device), self.alpha_bars().to(x.device)
        for t in range(self.config.timesteps, 0, -1):
            eps = self(x, torch.full(x.shape[:-1], t, device=x.device))
            x_0 = (x - (1 - alpha_bar[t]).sqrt() * eps) / alpha_bar[t].sqrt()
            z = normal() if t > 1 else torch.zeros_like(x)
            x = (x - beta[t] / (1 - alpha_bar[t]).sqrt() * eps) / (1 - beta[t]).sqrt() + beta[t].sqrt() * z
            yield x, x_0


TIME = 8
"""Numbers that stand for a time."""


def embed(t: Tensor) -> Tensor:
    """Return sines and cosines of times (…,) in [0, 1]: (…, TIME)."""
    angles = t[..., None] * math.pi * 2.0 ** torch.arange(TIME // 2, device=t.device)
    return torch.cat([angles.sin(), angles.cos()], dim=-1)
