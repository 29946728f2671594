"""What every sampler must do: end in data, draw only the noise it needs, survive the edges."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_ddpm.prediction import Prediction, predictor
from zoo_ddpm.samplers import ddim, ddpm, dpmpp_2m
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep, sampler_steps

SAMPLERS = {"ddpm": ddpm, "ddim": ddim, "dpmpp-2m": dpmpp_2m}
IMAGE = torch.linspace(-1, 1, 12, dtype=torch.float64).view(1, 3, 2, 2)


def knowing(x_t: Tensor, step: SamplerStep) -> Prediction:
    """The best network for data that are all one image."""
    signal, noise = math.sqrt(step.alpha_bar), math.sqrt(1 - step.alpha_bar)
    return Prediction(IMAGE, (x_t - signal * IMAGE) / noise, None)


def no_noise() -> Tensor:
    raise AssertionError("noise was drawn")


@pytest.mark.parametrize("steps", [1, 2, 14, 15, 40])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_network_that_knows_the_data_is_led_to_them(sampler, steps):
    plan = sampler_steps(SchedulerConfig(beta_schedule="squaredcos_cap_v2"), sampler, steps)
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64)

    walk = list(SAMPLERS[sampler](knowing, x, plan, lambda: torch.randn_like(x)))

    assert len(walk) == steps
    assert torch.allclose(walk[-1][0], IMAGE, atol=1e-9)


def test_ddim_without_eta_and_dpmpp_2m_draw_no_noise():
    plan = sampler_steps(SchedulerConfig(), "ddim", 10)

    for sampler in (ddim, dpmpp_2m):
        assert len(list(sampler(knowing, torch.randn_like(IMAGE), plan, no_noise))) == 10


def test_ddpm_draws_no_noise_at_timestep_zero():
    drawn = []
    plan = sampler_steps(SchedulerConfig(), "ddpm", 10)

    list(ddpm(knowing, IMAGE, plan, lambda: drawn.append(1) or torch.randn_like(IMAGE)))

    assert len(drawn) == 9


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_schedule_that_begins_with_pure_noise_is_sampled(sampler, prediction_type):
    config = SchedulerConfig(rescale_betas_zero_snr=True, prediction_type=prediction_type)
    plan = sampler_steps(config, sampler, 10, "trailing")
    predict = predictor(lambda x, t: 0.5 * x, config)

    *_, (x, _) = SAMPLERS[sampler](predict, torch.randn_like(IMAGE), plan, lambda: torch.randn_like(IMAGE))

    assert plan[0].alpha_bar == 0
    assert torch.isfinite(x).all()


@pytest.mark.parametrize("steps", [10, 20, 40])
def test_dpmpp_2m_comes_nearer_to_the_exact_solution_than_ddim(steps):
    """On data of variance 1/4 the flow is known: x_t over its scale stays what it is.

    Both solve the same equation; the second-order solver must leave a small part of the first-order error.
    """
    config = SchedulerConfig(clip_sample=False)

    def predict(x_t: Tensor, step: SamplerStep) -> Prediction:
        variance = 0.25 * step.alpha_bar + 1 - step.alpha_bar
        x_0 = math.sqrt(step.alpha_bar) * 0.25 / variance * x_t
        epsilon = (x_t - math.sqrt(step.alpha_bar) * x_0) / math.sqrt(1 - step.alpha_bar)
        return Prediction(x_0, epsilon, None)

    plan = sampler_steps(config, "dpmpp-2m", steps)
    start = torch.ones(1, 1, 1, 1, dtype=torch.float64)
    scale = math.sqrt(0.25 * plan[0].alpha_bar + 1 - plan[0].alpha_bar)
    exact = math.sqrt(0.25 * plan[-1].alpha_bar + 1 - plan[-1].alpha_bar) / scale

    def error(sampler) -> float:
        states = [x for x, _ in sampler(predict, start, plan, no_noise)]
        return abs(states[-2].item() - exact)  # before the last step, which is first-order for both

    assert error(dpmpp_2m) < 0.3 * error(ddim)
