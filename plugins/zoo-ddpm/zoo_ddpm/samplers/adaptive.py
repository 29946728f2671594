"""An adaptive solver, which chooses its steps by a tolerance."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from zoo_ddpm.samplers.sigma import Denoiser, NoiseSource, Trajectory, log_snr


def dpm_adaptive(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    tolerance: float = 0.05,
    smallest: float = 0.15,
) -> Trajectory:
    """DPM-Solver-23: orders 2 and 3 from three network calls, whose difference sets the next step.

    Lu et al. 2022 (arXiv:2206.00927), Algorithm 3 in its appendix C. All of x shares its steps, so give it
    one sample.

    Args:
        denoise: The denoiser.
        x: x_0 + σ ε at the first noise level.
        sigmas: Noise levels where the solver stops, as few as wanted; from the last above 0 it goes to the
            x_0 predicted there.
        noise: Not used.
        tolerance: Largest error of a step, as a part of |x|.
        smallest: What |x| counts as where it is smaller.
    """
    h, before = 0.05, x
    for sigma, sigma_next in pairwise(sigmas):
        x_0 = denoise(x, sigma)
        t, end = log_snr(sigma), log_snr(sigma_next) if sigma_next > 0 else -math.inf
        while t < end:
            h = min(h, end - t)
            low, high = _orders_2_and_3(denoise, x, x_0, t, h)
            scale = tolerance * torch.maximum(low.abs(), before.abs()).clamp(min=smallest)
            error = float(((low - high) / scale).square().mean().sqrt())
            if error <= 1:
                before, x, t = low, high, end if h == end - t else t + h
                x_0 = denoise(x, math.exp(-t)) if t < end else x_0
            h *= min(5.0, 0.9 * max(error, 1e-8) ** (-1 / 3))
        x = x if sigma_next > 0 else x_0
        yield x, x_0


def _orders_2_and_3(denoise: Denoiser, x: Tensor, x_0: Tensor, t: float, h: float) -> tuple[Tensor, Tensor]:
    """Return x at λ = t + h by DPM-Solver-2 and -3, with r = 1/3 and 2/3; ``x_0`` is predicted at t."""

    def epsilon(x: Tensor, t: float) -> Tensor:
        return (x - denoise(x, math.exp(-t))) / math.exp(-t)

    def go(part: float, slope: Tensor | None = None, r: float = 1.0) -> Tensor:
        sigma = math.exp(-t - part * h)
        moved = x - sigma * math.expm1(part * h) * e
        if slope is None:
            return moved
        return moved - sigma * part / r * (math.expm1(part * h) / (part * h) - 1) * slope

    e = (x - x_0) / math.exp(-t)
    first = epsilon(go(1 / 3), t + h / 3) - e
    second = epsilon(go(2 / 3, first, 1 / 3), t + 2 * h / 3) - e
    low = go(1.0) - math.exp(-t - h) * 1.5 * math.expm1(h) * first
    return low, go(1.0, second, 2 / 3)
