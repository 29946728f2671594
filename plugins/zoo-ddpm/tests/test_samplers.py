"""What every sampler must do: end in data, draw only the noise it needs, survive the edges."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from torch import Tensor
from zoo_ddpm.prediction import Prediction, predictor
from zoo_ddpm.samplers import SAMPLERS, BrownianNoise, ddpm
from zoo_ddpm.sampling import plan_sampling, sampler_steps
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.sigmas import SIGMA_SPACINGS
from zoo_ddpm.timesteps import SPACINGS, SamplerStep

from zoo_core import Noise, OptionError

IMAGE = torch.linspace(-1, 1, 12, dtype=torch.float64).view(1, 3, 2, 2)
DETERMINISTIC = {"ddim", "euler", "heun", "dpm2", "lms", "ipndm", "pndm", "dpmpp-2m", "dpmpp-3m", "unipc"}


class NoNoise(Noise):
    def normal(self, *shape: int) -> Tensor:
        raise AssertionError("noise was drawn")


def knowing(x_t: Tensor, step: SamplerStep) -> Prediction:
    """The best network for data that are all one image."""
    signal, noise = math.sqrt(step.alpha_bar), math.sqrt(1 - step.alpha_bar)
    return Prediction(IMAGE, (x_t - signal * IMAGE) / noise if noise else x_t, None)


def steps_for(sampler: str, n: int) -> int | None:
    return None if SAMPLERS[sampler].alone else n


@pytest.mark.parametrize("steps", [1, 2, 14, 15, 40])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_network_that_knows_the_data_is_led_to_them(sampler, steps):
    config = SchedulerConfig(beta_schedule="squaredcos_cap_v2")
    plan = plan_sampling(config, sampler, steps_for(sampler, steps))
    x = torch.randn(1, 3, 2, 2, dtype=torch.float64)

    walk = list(plan.run(knowing, x, Noise([0])))

    assert len(walk) == steps or plan.sampler.alone
    assert torch.allclose(walk[-1][0], IMAGE, atol=1e-6 if sampler == "lcm" else 1e-9)


@pytest.mark.parametrize("sampler", sorted(DETERMINISTIC))
def test_deterministic_samplers_draw_no_noise(sampler):
    plan = plan_sampling(SchedulerConfig(), sampler, 10)

    assert len(list(plan.run(knowing, torch.randn_like(IMAGE), NoNoise([0])))) == 10


@pytest.mark.parametrize("eta_sampler", [name for name, row in SAMPLERS.items() if "eta" in row.options])
def test_without_eta_a_stochastic_sampler_is_deterministic(eta_sampler):
    plan = plan_sampling(SchedulerConfig(), eta_sampler, 10, eta=0.0)

    assert len(list(plan.run(knowing, torch.randn_like(IMAGE), NoNoise([0])))) == 10


@pytest.mark.parametrize("spacing", [*SPACINGS, *SIGMA_SPACINGS])
@pytest.mark.parametrize("sampler", sorted(SAMPLERS.keys() - {"lcm", "consistency", "dpm-adaptive"}))
def test_every_sampler_takes_every_spacing(sampler, spacing):
    steps = sampler_steps(SchedulerConfig(), sampler, 12, spacing)

    assert len(steps) == 12
    assert all(a.alpha_bar_prev == b.alpha_bar for a, b in pairwise(steps))
    assert all(a.alpha_bar < b.alpha_bar for a, b in pairwise(steps)) or spacing == "quadratic"
    assert all(0 <= step.t <= 999 for step in steps)
    whole = SAMPLERS[sampler].layout != "fractional"
    assert not whole or all(step.t == int(step.t) for step in steps)


@pytest.mark.parametrize("spacing", ["karras", "trailing"])
@pytest.mark.parametrize(
    "sampler", [name for name, row in SAMPLERS.items() if row.end == "final_sigmas_type"]
)
def test_a_sampler_may_end_at_the_lowest_noise_level(sampler, spacing):
    config = SchedulerConfig(final_sigmas_type="sigma_min")
    spacing = None if SAMPLERS[sampler].alone else spacing
    plan = plan_sampling(config, sampler, steps_for(sampler, 12), spacing)

    *_, (x, _) = plan.run(knowing, torch.randn_like(IMAGE), Noise([0]))

    assert plan.steps[-1].alpha_bar_prev == pytest.approx(config.alphas_bar()[0].item())
    assert torch.isfinite(x).all()


def test_given_noise_levels_are_visited():
    steps = sampler_steps(SchedulerConfig(), "euler", 1, sigmas=[14.6, 3.0, 0.5])

    assert [step.sigma for step in steps] == pytest.approx([14.6, 3.0, 0.5])
    assert steps[-1].alpha_bar_prev == 1
    assert SchedulerConfig().sigma_at(steps[1].t) == pytest.approx(3.0, rel=1e-3)


@pytest.mark.parametrize("sigmas", [[], [1.0, 2.0], [500.0, 1.0], [1.0, -1.0]])
def test_lists_that_are_no_noise_levels_are_refused(sigmas):
    with pytest.raises(OptionError, match="--sigmas"):
        sampler_steps(SchedulerConfig(), "euler", 1, sigmas=sigmas)


@pytest.mark.parametrize(
    ("sampler", "options", "message"),
    [
        ("euler", {"eta": 0.5}, "--eta is an option of ddim, .*not of the sampler euler"),
        ("dpmpp-3m", {"order": 4}, "--order 4 is not an option of the sampler dpmpp-3m"),
        ("unipc", {"solver_type": "heun"}, "--solver-type heun is not an option of the sampler unipc"),
        ("dpm-adaptive", {"steps": 10}, "--sampler dpm-adaptive chooses its steps itself"),
        ("lcm", {"spacing": "karras"}, "--spacing is not an option of the sampler lcm"),
        ("lcm", {"steps": 51}, "--steps 51: the model was distilled at 50 timesteps"),
    ],
)
def test_options_that_a_sampler_lacks_are_refused(sampler, options, message):
    with pytest.raises(OptionError, match=message):
        plan_sampling(SchedulerConfig(), sampler, **options)


def test_a_smaller_tolerance_makes_the_adaptive_solver_more_exact():
    def run(tolerance: float) -> float:
        plan = plan_sampling(SchedulerConfig(clip_sample=False), "dpm-adaptive", tolerance=tolerance)
        states = [x for x, _ in plan.run(gaussian, torch.ones(1, 1, 1, 1).double(), NoNoise([0]))]
        # The last step goes from the lowest noise level to the mean of the data there.
        return abs(states[-2].item() - exact(plan.steps[0].alpha_bar, plan.steps[-1].alpha_bar))

    large, small = run(0.1), run(0.001)
    assert small < large
    assert small < 1e-3


def gaussian(x_t: Tensor, step: SamplerStep) -> Prediction:
    """The best network for data of mean 0 and variance 1/4."""
    variance = 0.25 * step.alpha_bar + 1 - step.alpha_bar
    x_0 = math.sqrt(step.alpha_bar) * 0.25 / variance * x_t
    return Prediction(x_0, (x_t - math.sqrt(step.alpha_bar) * x_0) / math.sqrt(1 - step.alpha_bar), None)


def exact(alpha_bar: float, alpha_bar_end: float) -> float:
    """The flow of such data carries 1 to this: x_t over its scale stays what it is."""
    scale = [math.sqrt(0.25 * a + 1 - a) for a in (alpha_bar, float(alpha_bar_end))]
    return scale[1] / scale[0]


@pytest.mark.parametrize("sampler", ["dpmpp-sde", "dpmpp-2m-sde"])
def test_finer_steps_of_the_same_stream_follow_the_same_path(sampler):
    """The end is that of the finest run to within the steps' error, where other noise would change it all."""

    def run(steps: int) -> Tensor:
        plan = plan_sampling(SchedulerConfig(clip_sample=False), sampler, steps, "karras")
        *_, (x, _) = plan.run(gaussian, torch.ones(1, 1, 16, 16).double(), Noise([3]))
        return x

    coarse, fine, finest = run(12), run(36), run(144)
    spread = finest.std()
    assert spread == pytest.approx(0.5, abs=0.1)
    assert (fine - finest).std() < 0.25 * spread
    assert (coarse - finest).std() < 0.6 * spread


def test_brownian_noise_is_standard_normal_and_its_increments_are_independent():
    path = BrownianNoise(Noise([5]), (4000,), 100.0, 0.01)
    levels = [100.0, 20.0, 7.0, 1.0, 0.3, 0.01]
    increments = torch.cat([path(a, b) for a, b in pairwise(levels)])

    covariance = increments.cov()
    assert (covariance - torch.eye(5)).abs().max() < 0.08
    # An interval's increment is the sum of its parts', whatever was asked for before.
    whole = BrownianNoise(Noise([5]), (4000,), 100.0, 0.01)(100.0, 7.0)[0]
    parts = [(b**-2 - a**-2) ** 0.5 for a, b in pairwise(levels[:3])]
    total = (7.0**-2 - 100.0**-2) ** 0.5
    assert torch.allclose(total * whole, torch.tensor(parts) @ increments[:2], atol=1e-5)


def test_ddpm_draws_no_noise_at_timestep_zero():
    drawn = []
    plan = sampler_steps(SchedulerConfig(), "ddpm", 10)

    list(ddpm(knowing, IMAGE, plan, lambda: drawn.append(1) or torch.randn_like(IMAGE)))

    assert len(drawn) == 9


@pytest.mark.parametrize("prediction_type", ["v_prediction", "sample"])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_schedule_that_begins_with_pure_noise_is_sampled(sampler, prediction_type):
    config = SchedulerConfig(rescale_betas_zero_snr=True, prediction_type=prediction_type)
    spacing = None if sampler in ("lcm", "consistency", "dpm-adaptive") else "trailing"
    plan = plan_sampling(config, sampler, steps_for(sampler, 10), spacing)
    predict = predictor(lambda x, t: 0.5 * x, config)

    *_, (x, _) = plan.run(predict, torch.randn_like(IMAGE), Noise([0]))

    assert plan.steps[0].alpha_bar == 0
    assert torch.isfinite(x).all()
