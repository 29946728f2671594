"""The probability-flow ODE's likelihood, on normal data whose score is known."""

from __future__ import annotations

import math

import pytest
import torch
from tiny import tiny
from torch import Tensor
from zoo_ddpm.ode_likelihood import flow_log_density
from zoo_ddpm.prediction import Prediction, Predictor
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep
from zoo_ddpm.training import DDPMTrainable

import zoo_core as zoo

MEAN = 0.3
BITS = 64 * math.log(2)
"""Nats in a bit per dimension of an image of 8 × 8."""


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(0)


def probes(k: int, n: int) -> Tensor:
    return (torch.rand(k, n, 1, 8, 8, generator=torch.Generator().manual_seed(1)) - 0.5).sign().double()


def gaussian(covariance: Tensor) -> tuple[torch.distributions.Distribution, Predictor]:
    """Return N(MEAN, covariance) with the noise of timestep 0, and the best prediction of x_0."""
    eye = torch.eye(64, dtype=torch.float64)

    def predict(x: Tensor, step: SamplerStep) -> Prediction:
        a = step.alpha_bar
        gain = math.sqrt(a) * covariance @ torch.linalg.inv(a * covariance + (1 - a) * eye)
        x_0 = MEAN + ((x - math.sqrt(a) * MEAN).flatten(1) @ gain.T).view_as(x)
        return Prediction(x_0, x, None)

    a = SchedulerConfig(beta_schedule="squaredcos_cap_v2").alphas_bar()[0].item()
    noisy = a * covariance + (1 - a) * eye
    return torch.distributions.MultivariateNormal(
        math.sqrt(a) * MEAN * torch.ones(64).double(), noisy
    ), predict


@pytest.mark.parametrize("schedule", ["linear", "squaredcos_cap_v2"])
def test_the_density_of_normal_data_is_exact_to_a_thousandth_of_a_bit_per_dimension(schedule):
    config = SchedulerConfig(beta_schedule=schedule)
    a = config.alphas_bar()[0].item()
    covariance = 0.25 * torch.eye(64, dtype=torch.float64)
    _, predict = gaussian(covariance)
    exact = torch.distributions.Normal(math.sqrt(a) * MEAN, math.sqrt(0.25 * a + 1 - a))
    x = exact.sample((3, 1, 8, 8)).double()

    found = flow_log_density(predict, config, x, probes(1, 3))

    assert (found[0] - exact.log_prob(x).flatten(1).sum(1)).abs().max() / BITS < 1e-3


def test_the_error_of_correlated_data_is_the_spread_of_the_trace():
    places = torch.arange(64, dtype=torch.float64)
    covariance = 0.25 * torch.exp(-(places[:, None] - places).abs() / 2)
    exact, predict = gaussian(covariance)
    x = exact.sample((2,)).view(2, 1, 8, 8)

    found = flow_log_density(predict, SchedulerConfig(beta_schedule="squaredcos_cap_v2"), x, probes(64, 2))

    error = found.std(0) / 8
    wrong = found.mean(0) - exact.log_prob(x.flatten(1))
    assert error.max() / BITS < 0.05
    assert (wrong.abs() < 4 * error + 1e-3 * BITS).all()


def test_a_model_scores_by_the_ode_as_zoo_score_calls_it(tmp_path):
    trainable = DDPMTrainable(tiny(), SchedulerConfig())
    trainable.save(tmp_path, trainable.networks)
    generator = zoo.load(tmp_path, device="cpu").generator
    data = torch.randint(256, (2, 1, 8, 8), dtype=torch.uint8)

    with torch.inference_mode():
        both = generator.ode_log_likelihood(data, zoo.Noise([3, 4]))
        one = generator.ode_log_likelihood(data[1:], zoo.Noise([4]))

    assert both.size.tolist() == [64, 64]
    assert both.nats.isfinite().all()
    assert (both.error > 0).all()
    assert one.nats.item() == pytest.approx(both.nats[1].item(), rel=1e-5)
