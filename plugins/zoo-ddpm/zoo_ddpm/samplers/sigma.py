"""The coordinate of most samplers: σ, where x = x_0 + σ ε (Karras et al. 2022, arXiv:2206.00364).

A sampler here takes a denoiser, x at the first noise level, the noise levels from the highest to the last (0:
clean data) and a source of noise, and yields (x, x_0) after each step. λ = −log σ is half the log of the
signal-to-noise ratio. √ᾱ x is the x_t of the variance-preserving process, where σ² = (1 − ᾱ)/ᾱ:
:func:`in_sigma` makes of such a sampler one that walks ᾱ as DDPM does.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from torch import Tensor

from zoo_ddpm.prediction import Predictor
from zoo_ddpm.schedule import SMALLEST_ALPHA_BAR
from zoo_ddpm.timesteps import SamplerStep

Denoiser = Callable[[Tensor, float], Tensor]
"""(x (n, c, h, w), σ > 0) to the predicted x_0."""

NoiseSource = Callable[[float, float], Tensor]
"""(σ, σ_next) to standard normals (n, c, h, w) for that interval; intervals apart are independent."""

Trajectory = Iterator[tuple[Tensor, Tensor]]
"""(x after the step, the x_0 predicted in it), one step after the other."""

BLIND = 1000.0
"""σ above which x shows less of the image than a level of 8 bits, so that the first slope is right.

A step from there ends far below, and a second slope, of its end or middle, would be multiplied by σ."""


def in_sigma(sampler: Callable[..., Trajectory]) -> Callable[..., Trajectory]:
    """Return the sampler for x_t and ᾱ: (predictor, x_t, steps, noise, time_of, **its own options)."""

    def run(
        predict: Predictor,
        x: Tensor,
        steps: Sequence[SamplerStep],
        noise: NoiseSource,
        time_of: Callable[[float], float],
        **options: Any,
    ) -> Trajectory:
        steps = [step._replace(alpha_bar=step.alpha_bar or SMALLEST_ALPHA_BAR) for step in steps]
        known = {step.sigma: step for step in steps}

        def denoise(x: Tensor, sigma: float) -> Tensor:
            step = known.get(sigma) or SamplerStep(time_of(sigma), 1 / (1 + sigma**2), 1.0)
            return predict(math.sqrt(step.alpha_bar) * x, step).x_0

        sigmas = [*(step.sigma for step in steps), steps[-1].sigma_next]
        ends = [*(step.alpha_bar_prev for step in steps)]
        start = x / math.sqrt(steps[0].alpha_bar)
        walked = sampler(denoise, start, sigmas, noise, **options)
        for alpha_bar, (x, x_0) in zip(ends, walked, strict=True):
            yield math.sqrt(alpha_bar) * x, x_0

    return run


def log_snr(sigma: float) -> float:
    """Return λ = −log σ; ∞ for clean data."""
    return -math.log(sigma) if sigma > 0 else math.inf


def ancestral_sigmas(sigma: float, sigma_next: float, eta: float) -> tuple[float, float]:
    """Split a step in two: (σ to go down to without noise, standard deviation of the noise to add).

    Both together lead to ``sigma_next``; with ``eta`` 1 as DDPM's posterior does (k-diffusion).
    """
    up = min(sigma_next, eta * math.sqrt(sigma_next**2 * (sigma**2 - sigma_next**2)) / sigma)
    return math.sqrt(max(sigma_next**2 - up**2, 0.0)), up
