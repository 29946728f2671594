"""GAN inversion: find the styles that reproduce a given image; arXiv:1912.04958, appendix D.

Adam minimizes a perceptual distance over w, starting from its mean. Noise is added to w and fades; the
learning rate ramps up at first and down at the end.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_stylegan.formats.checkpoint import W_AVG_SAMPLES, Generator
from zoo_stylegan.latents.perceptual import LPIPS
from zoo_stylegan.networks.stylegan2 import StyleGAN2

LEARNING_RATE = 0.1
LR_RAMPUP, LR_RAMPDOWN = 0.05, 0.25
"""Fractions of the steps over which the learning rate rises, and falls."""
NOISE_FACTOR, NOISE_RAMP = 0.05, 0.75
"""Initial noise in standard deviations of w, and the fraction of the steps over which it fades."""
COMPARED_SIZE = 256
"""Images are averaged down to about this side before they are compared."""
PIXEL_WEIGHT = 0.1
"""Weight of the mean squared pixel difference relative to the perceptual distance."""


@dataclass(frozen=True)
class InversionResult:
    """The styles that were found, and the distances on the way."""

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
) -> InversionResult:
    """Find styles that reproduce an image.

    Args:
        network: The generator in float32, with its parameters frozen.
        image: (1, c, resolution, resolution) in [-1, 1].
        label: Class whose mean style is the start; None: the mean of all.
        steps: Number of Adam steps.
        per_layer: True to optimize a style for each layer (W+): closer to any image, but less like the
            model's own images.
        on_step: Called with the number of steps done and the distance.
    """
    distances = []
    lpips = LPIPS().to(image.device)
    for found in inversion_steps(network, lpips, image, label=label, steps=steps, per_layer=per_layer):
        ws, distance = found
        distances.append(distance)
        on_step(len(distances), distance)
    return InversionResult(ws, tuple(distances))


def inversion_steps(
    network: Generator,
    lpips: LPIPS,
    image: Tensor,
    *,
    label: int | None,
    steps: int,
    per_layer: bool,
    start: Tensor | None = None,
    known: Tensor | None = None,
) -> Iterator[tuple[Tensor, float]]:
    """Yield the styles (1, layers, w_dim) and the perceptual distance after each step of :func:`invert`.

    Args:
        network, image, label, steps, per_layer: As of :func:`invert`.
        lpips: The perceptual distance, on the image's device.
        start: Styles (1, layers, w_dim) to begin with, for ``per_layer``; None: the mean style.
        known: (1, 1, h, w): 1 where the image is to be reproduced, 0 where it may be anything; None: 1.
    """
    random = torch.Generator().manual_seed(0)
    config, device = network.config, image.device
    w_mean, w_std = _w_statistics(network, label, random)
    if start is None:
        start = w_mean.expand(1, config.layers if per_layer else 1, -1)
    ws = start.clone().requires_grad_()
    adam = torch.optim.Adam([ws], betas=(0.9, 0.999))
    target = _downscale(image)
    with torch.no_grad():
        target_features = lpips.features(target)
    constant = network.synthesis.constant_noise() if isinstance(network, StyleGAN2) else None
    for step in range(steps):
        t = step / steps
        adam.param_groups[0]["lr"] = LEARNING_RATE * _lr_ramp(t)
        noise_scale = w_std * NOISE_FACTOR * max(0.0, 1 - t / NOISE_RAMP) ** 2
        noisy = ws + torch.randn(ws.shape, generator=random).to(device) * noise_scale
        styles = noisy.expand(1, config.layers, -1)
        found = network.synthesis(styles) if constant is None else network.synthesis(styles, constant)
        if known is not None:
            found = torch.where(known > 0, found, image)
        found = _downscale(found)
        distance = lpips.distance(lpips.features(found), target_features)[0]
        loss = distance + PIXEL_WEIGHT * F.mse_loss(found, target)
        adam.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        adam.step()
        yield ws.detach().expand(1, config.layers, -1).contiguous(), float(distance.detach())


@torch.no_grad()
def _w_statistics(network: Generator, label: int | None, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return the mean (w_dim,) and the standard deviation () of w, in a conditional model for the class."""
    mapping, config = network.mapping, network.config
    n = W_AVG_SAMPLES
    z = torch.randn(n, config.z_dim, generator=random).to(mapping.w_avg)
    ids = torch.full((n,), label) if label is not None else torch.arange(n) % max(config.classes, 1)

    def classes(start: int) -> Tensor | None:
        # One part at a time: all in one-hot form could take gigabytes.
        part = ids[start : start + 1000]
        return F.one_hot(part, config.classes).to(mapping.w_avg) if config.classes else None

    w = torch.cat([mapping(z[i : i + 1000], classes(i)) for i in range(0, n, 1000)])
    mean = w.mean(0)
    return mean, (w - mean).square().sum(1).mean().div(len(mean)).sqrt()


def _lr_ramp(t: float) -> float:
    rampdown = min(1.0, (1 - t) / LR_RAMPDOWN)
    return (0.5 - 0.5 * math.cos(math.pi * rampdown)) * min(1.0, (t + 1e-3) / LR_RAMPUP)


def _downscale(image: Tensor) -> Tensor:
    """Average (n, c, h, w) down to a side of about ``COMPARED_SIZE``."""
    factor = image.shape[2] // COMPARED_SIZE
    return F.avg_pool2d(image, factor) if factor > 1 else image
