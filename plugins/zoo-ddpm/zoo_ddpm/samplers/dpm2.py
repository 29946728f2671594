"""DPM-Solver-2, the midpoint method in log σ: Algorithm 2 of Karras et al. 2022 with α = 1/2."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from zoo_ddpm.samplers.sigma import BLIND, Denoiser, NoiseSource, Trajectory, ancestral_sigmas


def dpm2_ancestral(
    denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, eta: float = 1.0
) -> Trajectory:
    """Take the slope of each step from its middle, and add noise as ancestral sampling does."""
    for sigma, sigma_next in pairwise(sigmas):
        x_0 = denoise(x, sigma)
        down, up = ancestral_sigmas(sigma, sigma_next, eta)
        d = (x - x_0) / sigma
        if down > 0 and sigma <= BLIND:
            middle = math.sqrt(sigma * down)
            x_middle = x + (middle - sigma) * d
            d = (x_middle - denoise(x_middle, middle)) / middle
        x = x + (down - sigma) * d
        if up > 0:
            x = x + up * noise(sigma, sigma_next)
        yield x, x_0


def dpm2(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource) -> Trajectory:
    """Take the slope of each step from its middle; draws no noise."""
    return dpm2_ancestral(denoise, x, sigmas, noise, eta=0.0)
