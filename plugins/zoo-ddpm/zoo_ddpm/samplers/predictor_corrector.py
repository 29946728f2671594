"""The sampler of score-based models: a step of the reverse diffusion after steps of Langevin dynamics."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from zoo_ddpm.samplers.sigma import Denoiser, NoiseSource, Trajectory


def predictor_corrector(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    snr: float = 0.15,
    corrections: int = 1,
) -> Trajectory:
    """Song et al. 2021 (arXiv:2011.13456), Algorithms 2 (reverse diffusion) and 4 (annealed Langevin).

    Args:
        denoise: Predicts x_0.
        x: At the first level.
        sigmas: The levels; the last is 0.
        noise: Drawn in each correction and at each step but the last.
        snr: How far a correction goes: r of Algorithm 4.
        corrections: Corrections at each level: M.
    """
    for sigma, sigma_next in pairwise(sigmas):
        for _ in range(corrections):
            score, z = (denoise(x, sigma) - x) / sigma**2, noise(sigma, sigma_next)
            size = 2 * (snr * _norm(z) / _norm(score)) ** 2
            x = x + size * score + (2 * size).sqrt() * z
        x_0 = denoise(x, sigma)
        variance = sigma**2 - sigma_next**2
        x = x + variance / sigma**2 * (x_0 - x)
        if sigma_next > 0:
            x = x + math.sqrt(variance) * noise(sigma, sigma_next)
        yield x, x_0


def _norm(x: Tensor) -> Tensor:
    """Return each sample's norm, (n, 1, 1, 1); the authors take the mean over a batch."""
    norm: Tensor = torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)
    return norm
