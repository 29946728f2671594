"""Rectified flow: the steps of diffusers' scheduler, and every sampler on a flow that is known."""

from __future__ import annotations

import diffusers
import pytest
import torch
from zoo_ddpm.sampling import SAMPLERS, FlowConfig, plan_sampling, predictor, read_schedule

import zoo_core as zoo
from zoo_core import OptionError, WeightsError

SPREAD = 0.5
"""Standard deviation of normal data: v and every x_σ are known."""


def velocity(x: torch.Tensor, t: float) -> torch.Tensor:
    """The best prediction of ε − x_0 for data N(1, SPREAD²)."""
    sigma = t / 1000
    variance = ((1 - sigma) * SPREAD) ** 2 + sigma**2
    return (sigma - (1 - sigma) * SPREAD**2) / variance * (x - (1 - sigma)) - 1


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_the_default_is_the_step_of_diffusers(shift: float):
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler(shift=shift)
    config = read_schedule(dict(scheduler.config) | {"_class_name": type(scheduler).__name__})
    plan = plan_sampling(config, steps=20)
    noise = zoo.Noise([0, 1])
    x = ours = noise.normal(1, 4, 4)
    scheduler.set_timesteps(20)
    torch.testing.assert_close(torch.tensor([step.t for step in plan.steps]), scheduler.timesteps)
    for t in scheduler.timesteps:
        x = scheduler.step(velocity(x, float(t)), t, x).prev_sample
    *_, (ours, _) = plan.run(predictor(velocity, config), ours, noise)
    torch.testing.assert_close(ours, x, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", sorted(set(SAMPLERS) - {"lcm", "consistency", "dpm-adaptive"}))
def test_every_sampler_makes_the_data_of_a_flow(name: str):
    config, noise = FlowConfig(shift=3.0), zoo.Noise(range(4))
    plan = plan_sampling(config, name, steps=120)
    *_, (x, _) = plan.run(predictor(velocity, config), noise.normal(1, 16, 16), noise)
    assert x.mean() == pytest.approx(1, abs=0.06)
    assert x.std() == pytest.approx(SPREAD, abs=0.05)


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        ({"sampler": "lcm"}, "--sampler lcm is not for flows"),
        ({"spacing": "karras"}, "--spacing is not for flows"),
        ({"sigmas": [3.0, 1.0]}, "--sigmas is not for flows"),
        ({"steps": 1001}, "has 1000 timesteps"),
    ],
)
def test_options_of_other_schedules_are_refused(options: dict, wrong: str):
    with pytest.raises(OptionError, match=wrong) as caught:
        plan_sampling(FlowConfig(), **options)
    assert caught.value.remedy


@pytest.mark.parametrize("setting", ["use_dynamic_shifting", "invert_sigmas", "stochastic_sampling", "new"])
def test_settings_that_are_not_implemented_are_refused_by_name(setting: str):
    with pytest.raises(WeightsError, match=setting):
        read_schedule({"_class_name": "FlowMatchEulerDiscreteScheduler", setting: True})
