"""The order of each solver, measured on data of mean 0 and variance 1/4, whose flow is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_ddpm.prediction import Prediction
from zoo_ddpm.samplers import SAMPLERS
from zoo_ddpm.sampling import plan_sampling
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep

CONFIG = SchedulerConfig(clip_sample=False)
ORDERS = {
    "ddim": 1,
    "euler": 1,
    "euler-ancestral": 1,
    "heun": 2,
    "dpm2": 2,
    "dpm2-ancestral": 2,
    "lms": 3,
    "ipndm": 2,  # its weights are for steps of equal length, and these are not
    "pndm": 2,
    "dpmpp-2m": 2,
    "dpmpp-3m": 2,  # of the published weights, that of the curvature is half of Taylor's
    "dpmpp-2m-sde": 2,
    "dpmpp-2s-ancestral": 2,
    "dpmpp-sde": 2,
    "unipc": 3,  # order 2 with its corrector
}


def best(x_t: Tensor, step: SamplerStep) -> Prediction:
    """The best network for these data."""
    signal, noise = math.sqrt(step.alpha_bar), math.sqrt(1 - step.alpha_bar)
    x_0 = signal * 0.25 / (0.25 * step.alpha_bar + 1 - step.alpha_bar) * x_t
    return Prediction(x_0, (x_t - signal * x_0) / noise, None)


def error(sampler: str, n: int) -> float:
    """The distance from the exact flow after n steps without noise, even in log σ, from σ = 10 to 1/2."""
    row = SAMPLERS[sampler]
    sigmas = [10 * 0.05 ** (i / n) for i in range(n + 1)]
    alphas_bar = [1 / (1 + sigma**2) for sigma in sigmas]
    steps = [
        SamplerStep(CONFIG.time_of(sigma), *ends)
        for sigma, *ends in zip(sigmas, alphas_bar, alphas_bar[1:], strict=False)
    ]
    options = dict(plan_sampling(CONFIG, sampler, 10, eta=0.0 if "eta" in row.options else None).options)
    if "lower_order_final" in options:
        options["lower_order_final"] = False
    further = (CONFIG.time_of,) if row.in_sigma else ()
    *_, (x, _) = row.run(best, torch.ones(1, 1, 1, 1).double(), steps, torch.zeros_like, *further, **options)
    scale = [math.sqrt(0.25 * a + 1 - a) for a in (alphas_bar[0], alphas_bar[-1])]
    return abs(x.item() - scale[1] / scale[0])


@pytest.mark.parametrize(
    "sampler", sorted(SAMPLERS.keys() - {"ddpm", "lcm", "consistency", "dpm-adaptive", "predictor-corrector"})
)
def test_errors_shrink_with_the_order_of_the_solver(sampler):
    order = math.log2(error(sampler, 80) / error(sampler, 160))

    assert order == pytest.approx(ORDERS[sampler], abs=0.4)
