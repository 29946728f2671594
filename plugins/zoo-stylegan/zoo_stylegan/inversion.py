"""Find the styles with which a generator draws a given image: arXiv:1912.04958, appendix D.

Adam moves w toward a smaller perceptual distance, from the mean style, with noise that fades and a rate that
rises at first and falls at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_stylegan.checkpoint import MEAN_OF, Generator
from zoo_stylegan.perceptual import Perceptual
from zoo_stylegan.stylegan2 import StyleGAN2

RATE = 0.1
RISING, FALLING = 0.05, 0.25
"""Shares of the steps over which the rate rises, and falls."""
NOISE, NOISY = 0.05, 0.75
"""The noise that w has at first, in deviations of w, and the share of the steps over which it fades."""
LARGEST = 256
"""Side at which images are compared."""
PIXELS = 0.1
"""Weight of the squared difference of pixels beside the perceptual distance."""


@dataclass(frozen=True)
class Inversion:
    """What was found."""

    ws: Tensor
    """Styles, (1, layers, w_dim)."""
    distances: tuple[float, ...]
    """Perceptual distance after each step."""


def invert(
    network: Generator,
    image: Tensor,
    *,
    label: int | None,
    steps: int,
    per_layer: bool,
    on_step: Callable[[int, float], object] = lambda step, distance: None,
) -> Inversion:
    """Find styles for an image.

    Args:
        network: In float32, with its parameters frozen.
        image: (1, c, resolution, resolution) in [-1, 1].
        label: Class to begin from, for a network with classes.
        steps: Of Adam.
        per_layer: Whether every layer has a style of its own (W+), which is nearer to any image and less
            like what the network draws.
        on_step: Called with the steps done and the distance.
    """
    random = torch.Generator().manual_seed(0)
    config, device = network.config, image.device
    perceptual = Perceptual().to(device)
    mean, deviation = _styles_of(network, label, random)
    ws = mean.expand(1, config.layers if per_layer else 1, -1).clone().requires_grad_()
    adam = torch.optim.Adam([ws], betas=(0.9, 0.999))
    goal = _small(image)
    with torch.no_grad():
        wanted = perceptual.features(goal)
    constant = network.synthesis.constant_noise() if isinstance(network, StyleGAN2) else None
    distances = []
    for step in range(steps):
        done = step / steps
        adam.param_groups[0]["lr"] = RATE * _ramp(done)
        spread = deviation * NOISE * max(0.0, 1 - done / NOISY) ** 2
        noisy = ws + torch.randn(ws.shape, generator=random).to(device) * spread
        styles = noisy.expand(1, config.layers, -1)
        drawn = network.synthesis(styles) if constant is None else network.synthesis(styles, constant)
        drawn = _small(drawn)
        distance = perceptual.between(perceptual.features(drawn), wanted)[0]
        loss = distance + PIXELS * F.mse_loss(drawn, goal)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        distances.append(float(distance.detach()))
        on_step(step + 1, distances[-1])
    return Inversion(ws.detach().expand(1, config.layers, -1).contiguous(), tuple(distances))


@torch.no_grad()
def _styles_of(network: Generator, label: int | None, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Mean (w_dim,) and deviation of the styles, of a class where there are classes."""
    mapping, config = network.mapping, network.config
    z = torch.randn(MEAN_OF, config.z_dim, generator=random).to(mapping.w_avg)
    c = None
    if config.classes:
        ids = torch.full((MEAN_OF,), label) if label is not None else torch.arange(MEAN_OF) % config.classes
        c = F.one_hot(ids, config.classes).to(mapping.w_avg)
    parts = range(0, MEAN_OF, 1000)
    w = torch.cat([mapping(z[i : i + 1000], None if c is None else c[i : i + 1000]) for i in parts])
    mean = w.mean(0)
    return mean, (w - mean).square().sum(1).mean().div(len(mean)).sqrt()


def _ramp(done: float) -> float:
    falling = min(1.0, (1 - done) / FALLING)
    return (0.5 - 0.5 * math.cos(math.pi * falling)) * min(1.0, (done + 1e-3) / RISING)


def _small(image: Tensor) -> Tensor:
    """Average images down to what they are compared at."""
    factor = image.shape[2] // LARGEST
    return F.avg_pool2d(image, factor) if factor > 1 else image
