"""The timesteps of a sampler, and the ᾱ at both ends of each step.

Every sampler gets a list of :class:`SamplerStep` s, each from one entry of the timestep list to the next.
(diffusers' DDIM computes the end of a step as t − T // n instead, which is not the next entry in ``linspace``
spacing, nor in ``trailing`` spacing where n does not divide T.)
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from torch import Tensor

from zoo_core import OptionError
from zoo_ddpm.schedule import SchedulerConfig

OWN_SPACING = {"ddpm": "leading", "ddim": "leading", "dpmpp-2m": "linspace"}
"""The spacing each sampler was published with."""


class SamplerStep(NamedTuple):
    """One step of a sampler, from x_t to a less noisy x_s, whose ᾱ_s is ``alpha_bar_prev``."""

    t: float
    """The timestep given to the network."""
    alpha_bar: float
    """ᾱ_t."""
    alpha_bar_prev: float
    """ᾱ_s; 1 where the step ends in clean data."""

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


def sampler_steps(
    config: SchedulerConfig, sampler: str, steps: int, spacing: str | None = None
) -> list[SamplerStep]:
    """Return the steps of a sampler, from the noisiest to the last.

    Args:
        config: The schedule the model was trained with.
        sampler: ``ddpm``, ``ddim`` or ``dpmpp-2m``.
        steps: Number of steps, from 1 to T.
        spacing: One of ``SPACINGS``; None: the config's, or the sampler's own.

    Raises:
        OptionError: The schedule has no such timesteps.
    """
    T = config.num_train_timesteps
    if not 1 <= steps <= T:
        raise OptionError(f"--steps {steps}: the model has {T} timesteps.", f"Give --steps from 1 to {T}.")
    spacing = spacing or config.timestep_spacing or OWN_SPACING[sampler]
    ts = timesteps(spacing, steps, T, config.steps_offset, beyond_last=sampler == "dpmpp-2m")
    repeats = any(t <= s for t, s in pairwise(ts))
    if max(ts) >= T or (repeats and sampler == "dpmpp-2m"):
        raise OptionError(
            f"{steps} steps of {spacing} spacing do not fit into {T} timesteps with {sampler}.",
            "Give fewer --steps, or another --spacing.",
        )
    alphas_bar = config.alphas_bar().tolist()
    to_data = config.set_alpha_to_one if sampler == "ddim" else config.final_sigmas_type == "zero"
    ends = [alphas_bar[t] for t in ts[1:]] + [1.0 if to_data or sampler == "ddpm" else alphas_bar[0]]
    return [SamplerStep(t, alphas_bar[t], end) for t, end in zip(ts, ends, strict=True)]


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
