"""Whole trajectories against the schedulers of diffusers, the DDIM paper's code and guided-diffusion.

The golden network is a formula, out(x, t) = x/2 + sin(t/100)/2, so a trajectory checks timesteps,
coefficients, clipping, variances and the order of operations, and nothing else. Float64 runs must agree to
1e-9 of the largest value; float32 runs to 20 times the reference's own distance from float64.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from zoo_ddpm.guidance import Gradient, classifier_guided
from zoo_ddpm.prediction import Network, Prediction, predictor
from zoo_ddpm.samplers import SAMPLERS, ddim
from zoo_ddpm.sampling import plan_sampling, sampler_steps
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep

DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])


def network(learned: bool) -> Network:
    def out(x: Tensor, t: float) -> Tensor:
        mean = 0.5 * x + 0.5 * math.sin(t / 100)
        return torch.cat([mean, 0.8 * math.cos(t / 50) + 0.2 * torch.tanh(x)], dim=1) if learned else mean

    return out


class Runs:
    """The runs of one golden case in one dtype: :meth:`check` compares ours, ``misses`` is what differs."""

    def __init__(self, case: Any, relative_error: Any, dtype: torch.dtype) -> None:
        self.case, self.relative_error, self.dtype = case, relative_error, dtype
        self.compared = 0
        self.misses: dict[str, float] = {}

    def steps(self, run: str, config: SchedulerConfig, sampler: str) -> list[SamplerStep]:
        """Our sampler_steps, whose timesteps must be the golden ones."""
        steps = sampler_steps(config, sampler, self.case.runs[run]["num_inference_steps"])
        assert [step.t for step in steps] == self.case[f"intermediates/{run}/timesteps"].tolist(), run
        return steps

    def check(
        self,
        run: str,
        sampler: str,
        config: SchedulerConfig,
        steps: Sequence[SamplerStep],
        use_clipped_model_output: bool = False,
        gradient: Gradient | None = None,
        **options: Any,
    ) -> None:
        learned = config.variance_type.startswith("learned")
        predict = predictor(network(learned), config, use_clipped_model_output)
        if gradient is not None:
            in_mean = SAMPLERS[sampler].takes_gradient
            predict = classifier_guided(predict, gradient, config.network_time, in_mean=in_mean)
        xs, x_0s = [self.case["inputs/x_T"].to(self.dtype)], []

        def normal() -> Tensor:
            return self.case[f"inputs/{run}/noise"][len(xs) - 1].to(self.dtype)

        row = SAMPLERS[sampler]
        time_of = (config.time_of,) if row.in_sigma else ()
        for x, x_0 in row.run(predict, xs[0], steps, lambda *_: normal(), *time_of, **options):
            xs.append(x)
            x_0s.append(x_0)
        self._compare(f"{run}/trajectory", torch.stack(xs))
        self._compare(f"{run}/pred_x0", torch.stack(x_0s))

    def _compare(self, name: str, ours: Tensor) -> None:
        if f"outputs/{name}" not in self.case:
            return
        own_errors = self.case.about["tolerance_observed"]
        own_error = own_errors["max_abs_diff_float32_vs_float64_relative_to_largest_value"][name]
        exact = self.dtype == torch.float64
        error = self.relative_error(ours, self.case[f"outputs/{name}{'_f64' if exact else ''}"])
        assert ours.dtype == self.dtype
        self.compared += 1
        if not error <= (1e-9 if exact else 20 * own_error):
            self.misses[name] = error


def config_of(about: dict[str, Any]) -> SchedulerConfig:
    return SchedulerConfig.from_json({"_class_name": about["scheduler"], **about["scheduler_config"]})


@DTYPES
def test_ddpm_follows_the_ancestral_sampler_of_diffusers(golden, relative_error, dtype):
    runs = Runs(golden("sampler_ddpm"), relative_error, dtype)

    for run, about in runs.case.runs.items():
        config = config_of(about)
        runs.check(run, "ddpm", config, runs.steps(run, config, "ddpm"), variance=config.variance_type)

    assert runs.compared == 30
    assert not runs.misses


@DTYPES
def test_ddim_follows_diffusers_but_for_where_a_step_of_linspace_ends(golden, relative_error, dtype):
    """Given the ends t − T // n that diffusers computes, the linspace runs are its runs too."""
    runs = Runs(golden("sampler_ddim"), relative_error, dtype)

    for run, about in runs.case.runs.items():
        config = config_of(about)
        steps = runs.steps(run, config, "ddim")
        if config.timestep_spacing == "linspace":
            ours, steps = steps, with_the_ends_of_diffusers(config, steps)
            assert ours != steps
        else:
            assert steps == with_the_ends_of_diffusers(config, steps)
        reclip = about.get("use_clipped_model_output", False)
        runs.check(run, "ddim", config, steps, use_clipped_model_output=reclip, eta=about["eta"])

    assert runs.compared == 48
    assert not runs.misses


@pytest.mark.parametrize(
    ("spacing", "n", "others"),
    [
        ("leading", 30, 0),
        ("trailing", 50, 0),
        ("trailing", 30, 10),
        ("trailing", 999, 1),
        ("linspace", 50, 19),
    ],
)
def test_a_step_of_ddim_ends_elsewhere_than_in_diffusers_where_strides_are_uneven(spacing, n, others):
    diffusers_ddim = diffusers.DDIMScheduler(timestep_spacing=spacing)
    diffusers_ddim.set_timesteps(n)
    config = SchedulerConfig()
    steps = sampler_steps(config, "ddim", n, spacing)

    assert [step.t for step in steps] == diffusers_ddim.timesteps.tolist()
    ends = with_the_ends_of_diffusers(config, steps)
    assert sum(step != end for step, end in zip(steps[:-1], ends, strict=False)) == others


def with_the_ends_of_diffusers(config: SchedulerConfig, steps: list[SamplerStep]) -> list[SamplerStep]:
    alphas_bar = config.alphas_bar().tolist()
    stride = config.num_train_timesteps // len(steps)
    final = 1.0 if config.set_alpha_to_one else alphas_bar[0]
    ends = [alphas_bar[int(step.t) - stride] if step.t >= stride else final for step in steps]
    return [step._replace(alpha_bar_prev=end) for step, end in zip(steps, ends, strict=True)]


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace", "quadratic"])
@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_each_ddim_step_ends_where_the_next_begins(spacing, eta):
    """Where the best network is known, every state has the variance of the forward process.

    If all data are one black image, x_t is √(1 − ᾱ_t) times a unit normal and ε is x_t over that factor.
    Each state's scale is followed through the sampler with unit normals as independent axes: noise drawn
    at step k goes to axis k. Steps that end elsewhere than the next one begins give wrong scales.
    """
    n = 30
    steps = sampler_steps(SchedulerConfig(), "ddim", n, spacing)
    axes = iter(torch.eye(n + 1, dtype=torch.float64).view(n + 1, 1, 1, 1, n + 1))

    def predict(x: Tensor, step: SamplerStep) -> Prediction:
        return Prediction(torch.zeros_like(x), x / math.sqrt(1 - step.alpha_bar), None)

    start = math.sqrt(1 - steps[0].alpha_bar) * next(axes)
    for step, (x, _) in zip(steps, ddim(predict, start, steps, lambda: next(axes), eta=eta), strict=True):
        assert float(x.norm()) == pytest.approx(math.sqrt(1 - step.alpha_bar_prev), rel=1e-9, abs=1e-12)


@DTYPES
def test_ddim_and_ddpm_follow_the_code_of_the_ddim_paper(golden, relative_error, dtype):
    runs = Runs(golden("sampler_ddim_original"), relative_error, dtype)

    for run, about in runs.case.runs.items():
        noisy = about["sample_type"] == "ddpm_noisy"
        config = SchedulerConfig(clip_sample=noisy)
        steps = walk(config, about["sequence"][::-1])
        if about["skip_type"] == "quad":
            assert steps == sampler_steps(config, "ddim", about["timesteps"], "quadratic")
        elif 1000 % about["timesteps"] == 0:
            assert steps == sampler_steps(config, "ddim", about["timesteps"], "leading")
        if noisy:
            runs.check(run, "ddpm", config, steps, variance="fixed_large")
        else:
            runs.check(run, "ddim", config, steps, eta=about["eta"])

    assert runs.compared == 20
    assert not runs.misses


@DTYPES
@pytest.mark.parametrize(("name", "count"), [("sampler_dpmsolver", 14), ("sampler_unipc", 9)])
def test_multistep_solvers_follow_those_of_diffusers(golden, relative_error, dtype, name, count):
    runs = Runs(golden(name), relative_error, dtype)

    for run, about in runs.case.runs.items():
        config = config_of(about)
        plan = plan_sampling(config, steps=about["num_inference_steps"])
        steps = runs.steps(run, config, config.sampler)
        runs.check(run, config.sampler, config, steps, **plan.options)

    assert runs.compared == count
    assert not runs.misses


@DTYPES
def test_ddpm_and_ddim_follow_guided_diffusion(golden, relative_error, dtype):
    runs = Runs(golden("sampler_openai"), relative_error, dtype)

    for run, about in runs.case.runs.items():
        T = about["num_train_timesteps"]
        config = SchedulerConfig(
            num_train_timesteps=T,
            beta_schedule={"linear": "linear", "cosine": "squaredcos_cap_v2"}[about["beta_schedule"]],
            prediction_type={"EPSILON": "epsilon", "START_X": "sample"}[about["model_mean_type"]],
            variance_type=about["model_var_type"].lower(),
            clip_sample=about["clip_denoised"],
            rescale_timesteps=about["rescale_timesteps"],
        )
        gradient = (lambda x, t: 0.5 * torch.cos(x) - 0.2) if "cond_fn" in about else None
        steps = walk(config, about["timestep_map"][::-1])
        if about["method"] == "ddim_sample_loop":
            eta = about["eta"]
            runs.check(run, "ddim", config, steps, use_clipped_model_output=True, gradient=gradient, eta=eta)
        elif about["method"] == "p_sample_loop":
            runs.check(run, "ddpm", config, steps, gradient=gradient, variance=config.variance_type)
        else:  # from data to noise: each step ends where the next one begins
            ends = [*(step.alpha_bar for step in steps[-2::-1]), 0.0]
            up = [step._replace(alpha_bar_prev=end) for step, end in zip(steps[::-1], ends, strict=True)]
            runs.check(run, "ddim", config, up)

    assert runs.compared == 24
    assert not runs.misses


def walk(config: SchedulerConfig, timesteps: list[int]) -> list[SamplerStep]:
    """The sampler_steps along given timesteps, ending in clean data."""
    alphas_bar = [*(config.alphas_bar().tolist()[t] for t in timesteps), 1.0]
    return [SamplerStep(*step) for step in zip(timesteps, alphas_bar[:-1], alphas_bar[1:], strict=True)]
