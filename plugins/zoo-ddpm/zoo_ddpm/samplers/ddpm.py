"""The original samplers, which walk ᾱ: DDPM and DDIM.

Coefficients are Python floats, so that the arithmetic is as precise as x. The network is called once a step.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from zoo_ddpm.prediction import Predictor
from zoo_ddpm.timesteps import SamplerStep

Normal = Callable[[], Tensor]
"""Draws standard normals, (n, c, h, w), from one stream per sample."""


def ddpm(
    predict: Predictor,
    x: Tensor,
    steps: Sequence[SamplerStep],
    normal: Normal,
    variance: str = "fixed_small",
) -> Iterator[tuple[Tensor, Tensor]]:
    """Ancestral sampling: Algorithm 2 of Ho et al. 2020 (arXiv:2006.11239).

    Args:
        predict: The wrapped network.
        x: x_T, standard normal.
        steps: From :func:`zoo_ddpm.sampling.sampler_steps`.
        normal: The z of the algorithm; not drawn at timestep 0.
        variance: See :func:`log_variance`.
    """
    previous = 1e-20  # in the step to clean data, their code takes the variance of the step before
    for step in steps:
        prediction = predict(x, step)
        x = step.posterior_mean(prediction.x_0, x)
        if prediction.gradient is not None:  # Dhariwal & Nichol 2021 (arXiv:2105.05233), Algorithm 1
            floor = 1e-20 if step.posterior_variance else previous
            log_var = log_variance(variance, step, prediction.variance, floor)
            x = x + torch.exp(log_var).to(x) * prediction.gradient
        previous = step.posterior_variance
        # Trailing spacing ends above timestep 0, and so with noise, as published implementations do.
        if step.t > 0:
            sigma = torch.exp(0.5 * log_variance(variance, step, prediction.variance).to(x))
            x = x + sigma * normal()
        yield x, prediction.x_0


def ddim(
    predict: Predictor,
    x: Tensor,
    steps: Sequence[SamplerStep],
    normal: Normal,
    eta: float = 0.0,
) -> Iterator[tuple[Tensor, Tensor]]:
    """DDIM: equations 12 and 16 of Song et al. 2021 (arXiv:2010.02502).

    Args:
        predict: The wrapped network.
        x: x_T, standard normal.
        steps: From :func:`zoo_ddpm.sampling.sampler_steps`.
        normal: Not drawn where σ is 0.
        eta: 0 draws no noise; 1 draws as much as DDPM with the posterior's variance.
    """
    for step in steps:
        prediction = predict(x, step)
        # A step between equal ᾱ has no variance; rounding could make it negative.
        sigma = eta * math.sqrt(max(step.posterior_variance, 0.0)) if eta else 0.0
        direction = math.sqrt(max(1 - step.alpha_bar_prev - sigma**2, 0.0))
        x = math.sqrt(step.alpha_bar_prev) * prediction.x_0 + direction * prediction.epsilon
        if sigma > 0:
            x = x + sigma * normal()
        yield x, prediction.x_0


def log_variance(kind: str, step: SamplerStep, channels: Tensor | None, smallest: float = 1e-20) -> Tensor:
    """Return the log variance of p(x_s | x_t), a scalar or (n, c, h, w).

    Args:
        kind: ``fixed_small`` is the posterior's β̃ and ``fixed_large`` is β (Ho et al. section 3.2), either
            also with ``_log``, which differs only by rounding in other implementations; ``learned_range`` is
            between their logarithms at the fraction (v + 1)/2 (Nichol & Dhariwal 2021, arXiv:2102.09672,
            eq. 15); ``learned`` is v itself.
        step: The step from x_t to x_s.
        channels: v, the output of a network with a learned variance.
        smallest: A floor for β̃, which is 0 where the step ends in clean data.
    """
    small = math.log(max(step.posterior_variance, smallest))
    if kind.startswith("fixed_small"):
        return torch.tensor(small, dtype=torch.float64)
    large = math.log(step.beta)
    if kind.startswith("fixed_large"):
        return torch.tensor(large, dtype=torch.float64)
    assert channels is not None
    return small + (channels + 1) / 2 * (large - small) if kind == "learned_range" else channels
