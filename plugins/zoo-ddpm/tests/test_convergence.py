"""The order of each solver, measured on data whose flow is known."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_ddpm.convergence import SOLVERS, order
from zoo_ddpm.prediction import Prediction
from zoo_ddpm.sampling import plan_sampling
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep

from zoo_core import Noise

COSINE = SchedulerConfig(beta_schedule="squaredcos_cap_v2", timestep_spacing="trailing", clip_sample=False)

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


def test_the_solvers_are_all_samplers_that_take_a_number_of_steps_along_the_flow():
    assert set(SOLVERS) == set(ORDERS)


@pytest.mark.parametrize("sampler", SOLVERS)
def test_errors_shrink_with_the_order_of_the_solver(sampler):
    assert order(sampler, 80) == pytest.approx(ORDERS[sampler], abs=0.4)


def two_points(x_t: Tensor, step: SamplerStep) -> Prediction:
    """The best network for data that are -1/2 or 1/2."""
    signal, variance = math.sqrt(step.alpha_bar), 1 - step.alpha_bar
    x_0 = 0.5 * torch.tanh(0.5 * signal * x_t / variance)
    return Prediction(x_0, (x_t - signal * x_0) / math.sqrt(variance), None)


@pytest.mark.parametrize("sampler", SOLVERS)
def test_few_steps_from_pure_noise_stay_in_the_range_of_the_data(sampler):
    noise, plan = Noise(range(4)), plan_sampling(COSINE, sampler, 6)

    x_T = noise.normal(1, 16, 16).double()
    states = [x for x, _ in plan.run(two_points, x_T, noise)]

    assert max(float(x.abs().max()) for x in states) < 6
