"""Euler's and Heun's methods on dx/dσ = (x − x_0)/σ, with the noise of EDM or of ancestral sampling."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from zoo_ddpm.samplers.sigma import BLIND, Denoiser, NoiseSource, Trajectory, ancestral_sigmas

Band = tuple[float, float]


def euler(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    churn: float = 0.0,
    churn_band: Band = (0.0, math.inf),
    noise_scale: float = 1.0,
) -> Trajectory:
    """Euler's method: Algorithm 2 of Karras et al. 2022 (arXiv:2206.00364) without its correction.

    Args:
        denoise: The denoiser.
        x: x_0 + σ ε at the first noise level.
        sigmas: The noise levels.
        noise: Drawn where ``churn`` adds noise.
        churn: S_churn, noise added over all steps; 0 is deterministic.
        churn_band: S_tmin and S_tmax, the noise levels where it is added.
        noise_scale: S_noise, the standard deviation of what is added.
    """
    for sigma, sigma_next in pairwise(sigmas):
        x, sigma = churned(x, sigma, churn / (len(sigmas) - 1), churn_band, noise_scale, noise)
        x_0 = denoise(x, sigma)
        x = x + (sigma_next - sigma) * (x - x_0) / sigma
        yield x, x_0


def heun(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    churn: float = 0.0,
    churn_band: Band = (0.0, math.inf),
    noise_scale: float = 1.0,
) -> Trajectory:
    """Heun's method, of second order: Algorithm 2 of Karras et al. 2022; arguments as of :func:`euler`."""
    for sigma, sigma_next in pairwise(sigmas):
        x, sigma = churned(x, sigma, churn / (len(sigmas) - 1), churn_band, noise_scale, noise)
        x_0 = denoise(x, sigma)
        d = (x - x_0) / sigma
        x_next = x + (sigma_next - sigma) * d
        if sigma_next > 0 and sigma <= BLIND:
            d_next = (x_next - denoise(x_next, sigma_next)) / sigma_next
            x_next = x + (sigma_next - sigma) * (d + d_next) / 2
        x = x_next
        yield x, x_0


def churned(
    x: Tensor, sigma: float, share: float, band: Band, noise_scale: float, noise: NoiseSource
) -> tuple[Tensor, float]:
    """Return x with noise added, and its noise level: lines 4 to 6 of Algorithm 2."""
    if share == 0 or not band[0] <= sigma <= band[1]:
        return x, sigma
    raised = sigma * (1 + min(share, math.sqrt(2) - 1))
    return x + math.sqrt(raised**2 - sigma**2) * noise_scale * noise(raised, sigma), raised


def euler_ancestral(
    denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, eta: float = 1.0
) -> Trajectory:
    """Euler's method to less noise than asked for, and noise on top (k-diffusion); ``eta`` 0 is Euler's."""
    for sigma, sigma_next in pairwise(sigmas):
        x_0 = denoise(x, sigma)
        down, up = ancestral_sigmas(sigma, sigma_next, eta)
        x = x + (down - sigma) * (x - x_0) / sigma
        if up > 0:
            x = x + up * noise(sigma, sigma_next)
        yield x, x_0
