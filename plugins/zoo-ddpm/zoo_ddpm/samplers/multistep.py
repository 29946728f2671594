"""Linear multistep methods on dx/dσ = ε: one network call a step, and the slopes of earlier steps."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from zoo_ddpm.samplers.sigma import BLIND, Denoiser, NoiseSource, Trajectory

ADAMS_BASHFORTH = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)
"""Weights of the latest slopes, the newest first, for steps of equal length."""


def lms(
    denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, order: int = 4
) -> Trajectory:
    """Integrate the polynomial through the latest ``order`` slopes (Adams–Bashforth on uneven steps)."""
    slopes: list[Tensor] = []
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x_0 = denoise(x, sigma)
        slopes = [(x - x_0) / sigma, *slopes[: order - 1]]
        levels = sigmas[i + 1 - len(slopes) : i + 1][::-1]
        x = x + sum(w * d for w, d in zip(lms_weights(levels, sigma, sigma_next), slopes, strict=True))
        yield x, x_0


def lms_weights(levels: Sequence[float], start: float, end: float) -> list[float]:
    """Integrate the Lagrange polynomial of each of ``levels`` from ``start`` to ``end``, exactly."""
    weights = []
    for j, level in enumerate(levels):
        polynomial = np.poly1d([1.0])
        for other in (*levels[:j], *levels[j + 1 :]):
            polynomial *= np.poly1d([1.0, start - other]) / (level - other)
        weights.append(float(polynomial.integ()(end - start)))
    return weights


def ipndm(
    denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, order: int = 4
) -> Trajectory:
    """iPNDM: DDIM with ε extrapolated from the latest steps (Zhang & Chen 2022, arXiv:2204.13902, eq. 36)."""
    slopes: list[Tensor] = []
    for sigma, sigma_next in pairwise(sigmas):
        x_0 = denoise(x, sigma)
        slopes = [(x - x_0) / sigma, *slopes[: order - 1]]
        x = x + (sigma_next - sigma) * extrapolated(slopes)
        yield x, x_0


def pndm(denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource) -> Trajectory:
    """PLMS: iPNDM of order 4 whose first step is Heun's (Liu et al. 2022, arXiv:2202.09778, eq. 12 and 22).

    The paper begins with three Runge–Kutta steps; this beginning is that of Stable Diffusion and diffusers.
    """
    slopes: list[Tensor] = []
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x_0 = denoise(x, sigma)
        slopes = [(x - x_0) / sigma, *slopes[:3]]
        epsilon = extrapolated(slopes)
        if i == 0 and sigma_next > 0 and sigma <= BLIND:
            guess = x + (sigma_next - sigma) * epsilon
            epsilon = (epsilon + (guess - denoise(guess, sigma_next)) / sigma_next) / 2
        x = x + (sigma_next - sigma) * epsilon
        yield x, x_0


def extrapolated(slopes: Sequence[Tensor]) -> Tensor:
    """Return the slope that Adams–Bashforth takes, of one to four slopes, the newest first."""
    weights = ADAMS_BASHFORTH[len(slopes) - 1]
    return sum((w * d for w, d in zip(weights[1:], slopes[1:], strict=True)), weights[0] * slopes[0])
