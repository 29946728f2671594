"""Models on x = x_0 + σ ε: consistency models, EDM and NCSN++, step by step against diffusers' schedulers.

The network is a formula, so that a trajectory checks levels, scalings, noise and the order of operations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import diffusers
import pytest
from torch import Tensor
from zoo_ddpm.prediction import predictor
from zoo_ddpm.sampling import plan_sampling
from zoo_ddpm.schedule import SchedulerConfig

from zoo_core import Noise

SHAPE = (3, 4, 4)


def network(x: Tensor, t: float | Tensor) -> Tensor:
    return 0.3 * x.tanh() + 0.2 * math.sin(float(t) / 100)


def trajectory(scheduler: Any, steps: int, sigma_max: float, offset: float = 0.0) -> Iterator[Tensor]:
    """Our x after each step, from σ_max ε as diffusers begins, in the units of diffusers."""
    config = SchedulerConfig.from_json({"_class_name": type(scheduler).__name__, **scheduler.config})
    plan = plan_sampling(config, steps=steps)
    noise = Noise([5])
    x = sigma_max * noise.normal(*SHAPE).double() + offset
    walked = plan.run(predictor(network, config), x * math.sqrt(plan.steps[0].alpha_bar), noise)
    for step, (x_t, _) in zip(plan.steps, walked, strict=True):
        yield x_t / math.sqrt(step.alpha_bar_prev)


def draws() -> Iterator[Tensor]:
    noise = Noise([5])
    while True:
        yield noise.normal(*SHAPE).double()


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_a_consistency_model_samples_as_in_diffusers(monkeypatch, relative_error, steps):
    scheduler, noise = diffusers.CMStochasticIterativeScheduler(), draws()
    module = "diffusers.schedulers.scheduling_consistency_models.randn_tensor"
    monkeypatch.setattr(module, lambda *_, **__: next(noise))
    scheduler.set_timesteps(steps)
    x = next(noise) * 80.0
    ours = trajectory(scheduler, steps, 80.0)
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t), t, x).prev_sample
        assert relative_error(next(ours), x) < 1e-5  # its levels are float32


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("rho", [7.0, 5.0])
def test_edm_samples_as_in_diffusers(relative_error, prediction_type, rho):
    scheduler, noise = diffusers.EDMEulerScheduler(prediction_type=prediction_type, rho=rho), draws()
    scheduler.set_timesteps(9)
    x = next(noise) * 80.0
    ours = trajectory(scheduler, 9, 80.0)
    for t in scheduler.timesteps:
        x = scheduler.step(network(scheduler.scale_model_input(x, t), t), t, x).prev_sample
        assert relative_error(next(ours), x) < 2e-5


def test_ncsnpp_samples_as_in_diffusers(monkeypatch, relative_error):
    scheduler, noise = diffusers.ScoreSdeVeScheduler(correct_steps=2), draws()
    module = "diffusers.schedulers.scheduling_sde_ve.randn_tensor"
    monkeypatch.setattr(module, lambda *_, **__: next(noise))
    scheduler.set_timesteps(12)
    scheduler.set_sigmas(12)
    x = next(noise) * 1348.0
    # Its images are in [0, 1], ours in [-1, 1].
    ours = trajectory(scheduler, 12, 2 * 1348.0, offset=-1.0)
    for t, sigma in zip(scheduler.timesteps, scheduler.discrete_sigmas.flip(0), strict=True):
        for _ in range(2):
            x = scheduler.step_correct(network(x, sigma), x).prev_sample
        step = scheduler.step_pred(network(x, sigma), t, x)
        x = step.prev_sample
        expected = step.prev_sample_mean if t == scheduler.timesteps[-1] else x
        assert relative_error((next(ours) + 1) / 2, expected) < 1e-4
