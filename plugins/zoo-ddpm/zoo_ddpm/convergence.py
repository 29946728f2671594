"""How exact a sampler is: its error on data of mean 0 and variance 1/4, whose flow is known."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from zoo_ddpm.prediction import Prediction
from zoo_ddpm.samplers import SAMPLERS
from zoo_ddpm.sampling import plan_sampling
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep

VARIANCE = 0.25
CONFIG = SchedulerConfig(clip_sample=False)
SOLVERS = tuple(
    name for name, row in SAMPLERS.items() if row.steps and row.layout != "distilled" and not row.alone
)
"""Samplers that solve the flow in a number of steps that is given."""


@dataclass
class BestNetwork:
    """The best predictor for these data, which counts its calls."""

    calls: int = field(default=0, init=False)

    def __call__(self, x_t: Tensor, step: SamplerStep) -> Prediction:
        """Return the mean of x_0 given x_t, and the ε that belongs to it."""
        self.calls += 1
        signal, noise = math.sqrt(step.alpha_bar), math.sqrt(1 - step.alpha_bar)
        x_0 = signal * VARIANCE / (VARIANCE * step.alpha_bar + 1 - step.alpha_bar) * x_t
        return Prediction(x_0, (x_t - signal * x_0) / noise, None)


def flow_error(sampler: str, n: int) -> tuple[float, int]:
    """Return the distance from the exact flow, and the network calls, of n steps without noise.

    The steps are even in log σ, from σ = 10 to 1/2; x is 1 at their start.

    Args:
        sampler: One of ``SOLVERS``.
        n: Number of steps.
    """
    row, network = SAMPLERS[sampler], BestNetwork()
    sigmas = [10 * 0.05 ** (i / n) for i in range(n + 1)]
    alphas_bar = [1 / (1 + sigma**2) for sigma in sigmas]
    steps = [
        SamplerStep(CONFIG.time_of(sigma), *ends)
        for sigma, *ends in zip(sigmas, alphas_bar, alphas_bar[1:], strict=False)
    ]
    options = dict(plan_sampling(CONFIG, sampler, 10, eta=0.0 if "eta" in row.options else None).options)
    if "lower_order_final" in options:
        options["lower_order_final"] = False
    further: tuple[Callable[[float], float], ...] = (CONFIG.time_of,) if row.in_sigma else ()
    x_T = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    *_, (x, _) = row.run(network, x_T, steps, torch.zeros_like, *further, **options)
    scale = [math.sqrt(VARIANCE * a + 1 - a) for a in (alphas_bar[0], alphas_bar[-1])]
    return abs(x.item() - scale[1] / scale[0]), network.calls


def order(sampler: str, n: int) -> float:
    """Return the order of a solver, log₂ of how much smaller 2 n steps make the error of n."""
    return math.log2(flow_error(sampler, n)[0] / flow_error(sampler, 2 * n)[0])
