"""Distributions in the plane to learn: ``draw("ring", 1000, random)``."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def ring(n: int, random: torch.Generator) -> Tensor:
    """Draw from eight Gaussians, σ = 0.1, on a circle of radius 2."""
    angle = torch.randint(8, (n,), generator=random) * (math.pi / 4)
    centers = 2 * torch.stack([angle.cos(), angle.sin()], 1)
    return centers + 0.1 * torch.randn(n, 2, generator=random)


def moons(n: int, random: torch.Generator) -> Tensor:
    """Draw from two interleaved half circles of radius 1.5, σ = 0.1."""
    angle = math.pi * torch.rand(n, generator=random)
    upper = torch.randint(2, (n,), generator=random) == 1
    x = torch.where(upper, angle.cos() - 0.5, 0.5 - angle.cos())
    y = torch.where(upper, angle.sin() - 0.25, 0.25 - angle.sin())
    return 1.5 * torch.stack([x, y], 1) + 0.1 * torch.randn(n, 2, generator=random)


def spiral(n: int, random: torch.Generator) -> Tensor:
    """Draw from a spiral of one and a half turns, σ = 0.05."""
    angle = 3 * math.pi * torch.rand(n, generator=random).sqrt()
    arm = (angle / (1.5 * math.pi))[:, None] * torch.stack([angle.cos(), angle.sin()], 1)
    return arm + 0.05 * torch.randn(n, 2, generator=random)


DATA: dict[str, Callable[[int, torch.Generator], Tensor]] = {"ring": ring, "moons": moons, "spiral": spiral}


def draw(name: str, n: int, random: torch.Generator) -> Tensor:
    """Return n points (n, 2) of a distribution by its name in ``DATA``."""
    return DATA[name](n, random)
