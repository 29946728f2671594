"""A GAN (Goodfellow et al. 2014, arXiv:1406.2661), kept at several moments of its training.

The moments make a film of the minimax game: ``generators[k]`` and ``discriminators[k]`` are the two players
at moment k.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_toy2d.mlp import mlp


@dataclass(frozen=True)
class Config:
    """Sizes of the networks, and how many moments are kept."""

    moments: int = 16
    z_dim: int = 4
    """With 2, the noise is a plane that cannot be torn apart, and the GAN drops Gaussians."""
    width: int = 48


class Game(nn.Module):
    """Both players at each kept moment; the last is the trained GAN."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.generators, self.discriminators = nn.ModuleList(), nn.ModuleList()
        for _ in range(config.moments):
            self.generators.append(mlp(config.z_dim, config.width, 2, activation=nn.LeakyReLU))
            self.discriminators.append(mlp(2, config.width, 1, activation=nn.LeakyReLU))

    def forward(self, z: Tensor, moment: int = -1) -> Tensor:
        """Return the points (…, 2) that the generator makes of noise (…, z_dim)."""
        points: Tensor = self.generators[moment](z)
        return points

    def discriminate(self, x: Tensor, moment: int = -1) -> Tensor:
        """Return the discriminator's probability that points (…, 2) are data, (…,)."""
        return torch.sigmoid(self.discriminators[moment](x)[..., 0])


def discriminator_loss(discriminator: nn.Module, real: Tensor, fake: Tensor, r1: float = 0.02) -> Tensor:
    """Return −E log D(x) − E log(1 − D(G(z))) (equation 1), with the R1 penalty (arXiv:1801.04406)."""
    real = real.requires_grad_()
    on_real = discriminator(real)
    loss = F.softplus(-on_real).mean() + F.softplus(discriminator(fake.detach())).mean()
    (slope,) = torch.autograd.grad(on_real.sum(), real, create_graph=True)
    return loss + r1 / 2 * slope.square().sum(1).mean()


def generator_loss(discriminator: nn.Module, fake: Tensor) -> Tensor:
    """Return −E log D(G(z)), the form that does not saturate (section 3)."""
    return F.softplus(-discriminator(fake)).mean()
