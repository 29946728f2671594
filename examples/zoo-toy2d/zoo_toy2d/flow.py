"""A normalizing flow of affine coupling layers (Dinh et al. 2017, Real NVP, arXiv:1605.08803)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from zoo_toy2d.mlp import mlp


@dataclass(frozen=True)
class Config:
    """Sizes of the network."""

    layers: int = 12
    width: int = 48


class Flow(nn.Module):
    """An invertible map of the plane: x = f(z) of noise z ~ N(0, I)."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.couplings = nn.ModuleList(mlp(1, config.width, 2, layers=2) for _ in range(config.layers))

    def forward(self, z: Tensor) -> Iterator[Tensor]:
        """Yield points (…, 2) after each layer; the last are x = f(z).

        Layer i leaves one coordinate unchanged, and scales and shifts the other by functions of it (eq. 7).
        """
        x = z
        for i, coupling in enumerate(self.couplings):
            kept, moved = x[..., i % 2, None], x[..., 1 - i % 2, None]
            scale, shift = self._scale_and_shift(coupling, kept)
            x = _in_order(kept, moved * scale.exp() + shift, i)
            yield x

    def log_density(self, x: Tensor) -> Tensor:
        """Return log p(x) in nats, (…,) for points (…, 2), by the change of variables (equations 2 and 6)."""
        volume = torch.zeros_like(x[..., 0])
        for i in reversed(range(len(self.couplings))):
            kept, moved = x[..., i % 2, None], x[..., 1 - i % 2, None]
            scale, shift = self._scale_and_shift(self.couplings[i], kept)
            x = _in_order(kept, (moved - shift) * (-scale).exp(), i)
            volume = volume - scale[..., 0]
        return volume - x.square().sum(-1) / 2 - math.log(2 * math.pi)

    def loss(self, x: Tensor) -> Tensor:
        """Return the negative log-likelihood of points (n, 2), in nats a point."""
        return -self.log_density(x).mean()

    @staticmethod
    def _scale_and_shift(coupling: nn.Module, kept: Tensor) -> tuple[Tensor, Tensor]:
        raw, shift = coupling(kept).chunk(2, dim=-1)
        return 2 * torch.tanh(raw / 2), shift  # bounded, so that no layer explodes


def _in_order(kept: Tensor, moved: Tensor, layer: int) -> Tensor:
    return torch.cat([kept, moved] if layer % 2 == 0 else [moved, kept], dim=-1)
