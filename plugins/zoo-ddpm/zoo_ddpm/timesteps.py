"""The timesteps of a sampler, and the ᾱ at both ends of each step."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from torch import Tensor


class SamplerStep(NamedTuple):
    """One step of a sampler, from x_t to a less noisy x_s, whose ᾱ_s is ``alpha_bar_prev``."""

    t: float
    """The timestep given to the network."""
    alpha_bar: float
    """ᾱ_t."""
    alpha_bar_prev: float
    """ᾱ_s; 1 where the step ends in clean data."""

    @property
    def sigma(self) -> float:
        """σ = √((1 − ᾱ_t)/ᾱ_t), the noise level in units of the signal."""
        return math.sqrt((1 - self.alpha_bar) / self.alpha_bar)

    @property
    def sigma_next(self) -> float:
        """σ of x_s; 0 where the step ends in clean data."""
        return math.sqrt((1 - self.alpha_bar_prev) / self.alpha_bar_prev)

    @property
    def alpha(self) -> float:
        """α = ᾱ_t / ᾱ_s."""
        return self.alpha_bar / self.alpha_bar_prev

    @property
    def beta(self) -> float:
        """β = 1 − α."""
        return 1 - self.alpha

    @property
    def posterior_variance(self) -> float:
        """Variance β̃ of q(x_s | x_t, x_0) (Ho et al. eq. 7)."""
        return (1 - self.alpha_bar_prev) / (1 - self.alpha_bar) * self.beta

    def posterior_mean(self, x_0: Tensor, x_t: Tensor) -> Tensor:
        """Mean μ̃ of q(x_s | x_t, x_0) (Ho et al. eq. 7), in the shape of its arguments."""
        of_x_0 = math.sqrt(self.alpha_bar_prev) * self.beta / (1 - self.alpha_bar)
        of_x_t = math.sqrt(self.alpha) * (1 - self.alpha_bar_prev) / (1 - self.alpha_bar)
        return of_x_0 * x_0 + of_x_t * x_t


SPACINGS = ("leading", "trailing", "linspace", "quadratic")
"""Spacings of timesteps."""


def fractional_timesteps(spacing: str, n: int, T: int, offset: int = 0) -> list[float]:
    """Return n timesteps as k-diffusion has them: ``linspace`` is not rounded, all else as usual."""
    if spacing == "linspace":
        return [float(t) for t in np.linspace(0, T - 1, n)[::-1]]
    return [float(t) for t in timesteps(spacing, n, T, offset)]


def distilled_timesteps(n: int, T: int, grid: int) -> list[int]:
    """Return n of the ``grid`` timesteps that a latent consistency model was distilled at, descending."""
    descending = [k * (T // grid) - 1 for k in range(grid, 0, -1)]
    return [descending[i * grid // n] for i in range(n)]


def timesteps(spacing: str, n: int, T: int, offset: int = 0, beyond_last: bool = False) -> list[int]:
    """Return n of the timesteps 0 … T − 1, descending.

    Lin et al. 2023 (arXiv:2305.08891), Table 2, for ``leading``, ``linspace`` and ``trailing``; the code of
    Song et al. 2021 (arXiv:2010.02502) for ``quadratic``, which begins at 0.8 T and may hold 0 twice.

    Args:
        spacing: One of ``SPACINGS``.
        n: Number of timesteps to return.
        T: Number of timesteps of the schedule.
        offset: Added to ``leading`` timesteps.
        beyond_last: Lay out n + 1 points in ``leading`` and ``linspace`` and leave out the last, as is usual
            with DPM-Solver, for which the end of the last step is a point like the others.
    """
    points = n + beyond_last
    if spacing == "leading":
        ascending = [i * (T // points) + offset for i in range(points)]
    elif spacing == "linspace":
        ascending = [round(t) for t in np.linspace(0, T - 1, points).tolist()]
    elif spacing == "trailing":
        return [round(t) - 1 for t in np.arange(T, 0, -T / n).tolist()[:n]]
    else:
        ascending = [int(t) for t in (np.linspace(0, math.sqrt(0.8 * T), n) ** 2).tolist()]
    return ascending[::-1][:n]
