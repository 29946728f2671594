"""Drawn combinations of scheduler, options, prediction and number of steps against diffusers, live.

The network is a formula, so that a run checks the reading of the config, the timesteps and the sampler.
diffusers keeps its noise levels in float32, so agreement is to 3e-4 of the largest value. Where its
schedulers are known to differ, the combination is left out, and the reason is here:

- DDIM and PNDM end a step at t − T // n: only right where strides are even.
- PNDM extrapolates velocities of different timesteps as if they were one's; ours extrapolates ε.
- DPM-Solver and UniPC cut fractional timesteps of exponential and beta spacing to whole ones, where ours are
  rounded; with the cosine schedule also those of Karras spacing.
- DPM-Solver leaves out the first step if rounding makes the first two timesteps equal (Karras spacing of a
  schedule with zero terminal SNR), and then fails.
- With final_sigmas_type sigma_min, Karras spacing ends in a step that goes nowhere, on which solvers divide
  by zero; ours ends there one step earlier.
- DPM2 rounds the timesteps of Karras spacing, but not those between; ours rounds neither.
- Spacings of noise levels begin and end at the timesteps of the other spacing; ours at those of the schedule.
  With ``linspace`` they are the same.
- Trailing spacing has a timestep too many where rounding in float makes it so.
- The third order of SDE-DPM-Solver++ has a constant of the wrong sign; ours is of order 2.
- UniPC with bh1 ends in NaN where the last noise level is 0; ours ends in x_0.
- Heun, ancestral DPM2 and PNDM diverge from the cosine schedule's σ of 20,000; ours begin with Euler's step.
- On the cosine schedule, whose highest σ is 20,000, float32 is too coarse for the schedulers that walk σ and
  for those that integrate ε (UniPC is off by 5%; given our noise levels in float64, its result is ours).
"""

from __future__ import annotations

import math
import random
import warnings
from collections.abc import Iterator
from itertools import product
from typing import Any

import diffusers
import pytest
import torch
from torch import Tensor
from zoo_ddpm.prediction import predictor
from zoo_ddpm.sampling import plan_sampling
from zoo_ddpm.schedule import SchedulerConfig

EVEN, VP_STEPS, STEPS = (10, 20, 25, 50), (5, 12, 20, 40), (4, 10, 15, 30)
SPACINGS = ("leading", "trailing", "linspace")
KARRAS = {"use_karras_sigmas": True, "timestep_spacing": "linspace"}
OTHER = ({"use_exponential_sigmas": True}, {"use_beta_sigmas": True})
BETAS = (
    {"beta_schedule": "linear"},
    {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
)
COSINE = {"beta_schedule": "squaredcos_cap_v2"}
BOTH, THREE = ("epsilon", "v_prediction"), ("epsilon", "v_prediction", "sample")


def spaced(*spacings: str) -> list[dict[str, Any]]:
    return [{"timestep_spacing": spacing} for spacing in spacings]


def solver(*options: dict[str, Any]) -> list[dict[str, Any]]:
    return [a | b for a, b in product((*spaced(*SPACINGS), KARRAS), options)]


GRID: dict[str, tuple[list[dict[str, Any]], tuple[str, ...], tuple[int, ...]]] = {
    "DDPM": (spaced(*SPACINGS), THREE, EVEN),
    "DDIM": (spaced("leading", "trailing"), THREE, EVEN),
    "PNDM": (
        [{"timestep_spacing": "leading", "skip_prk_steps": True, "steps_offset": s} for s in (0, 1)],
        ("epsilon",), EVEN,
    ),
    "EulerDiscrete": (
        [*spaced(*SPACINGS), KARRAS, *OTHER, {"final_sigmas_type": "sigma_min"}], THREE, STEPS,
    ),
    "EulerAncestralDiscrete": (spaced(*SPACINGS), BOTH, STEPS),
    "HeunDiscrete": ([*spaced(*SPACINGS), KARRAS, *OTHER], BOTH, STEPS),
    "LMSDiscrete": ([*spaced(*SPACINGS), KARRAS, *OTHER], BOTH, STEPS),
    "KDPM2Discrete": ([*spaced(*SPACINGS), *OTHER], BOTH, STEPS),
    "KDPM2AncestralDiscrete": ([*spaced(*SPACINGS), *OTHER], BOTH, STEPS),
    "DPMSolverMultistep": (
        solver(
            {"solver_order": 1}, {"solver_order": 2}, {"solver_order": 3}, {"solver_type": "heun"},
            {"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"},
            {"algorithm_type": "sde-dpmsolver++"},
            {"algorithm_type": "sde-dpmsolver++", "solver_type": "heun"},
            {"euler_at_final": True, "final_sigmas_type": "sigma_min", "lower_order_final": False},
            {"solver_order": 3, "rescale_betas_zero_snr": True, "prediction_type": "v_prediction"},
        ),
        THREE, VP_STEPS,
    ),
    "UniPCMultistep": (
        solver(
            {"solver_order": 2}, {"solver_order": 3}, {"solver_order": 1},
            {"predict_x0": False, "final_sigmas_type": "sigma_min"},
            {"solver_type": "bh1", "final_sigmas_type": "sigma_min"}, {"disable_corrector": [0, 1]},
        ),
        THREE, VP_STEPS,
    ),
    "LCM": ([{}, {"original_inference_steps": 25}], THREE, (1, 2, 4, 8)),
}  # fmt: skip


def combinations() -> Iterator[tuple[str, dict[str, Any], int]]:
    for name, (options, predictions, counts) in GRID.items():
        betas = BETAS if "Discrete" in name else (*BETAS, COSINE)
        for chosen, prediction, count, beta in product(options, predictions, counts, betas):
            is_karras = chosen.get("use_karras_sigmas", False)
            of_noise = chosen.get("predict_x0") is False or chosen.get("algorithm_type") == "dpmsolver"
            if beta is COSINE and (is_karras or of_noise):
                continue
            ends_early = chosen.get("final_sigmas_type") == "sigma_min"
            if is_karras and (ends_early or chosen.get("rescale_betas_zero_snr")):
                continue
            yield name, {"prediction_type": prediction, **beta, **chosen}, count


def network(x: Tensor, t: float | Tensor) -> Tensor:
    return 0.5 * x + 0.5 * math.sin(float(t) / 100)


class Draws:
    """The same noise for both: the k-th draw."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(0)

    def __call__(self, *_: Any, **__: Any) -> Tensor:
        return torch.randn(1, 1, 2, 2, generator=self.generator, dtype=torch.float64)


def theirs(scheduler: Any, steps: int, x_T: Tensor, monkeypatch: pytest.MonkeyPatch) -> tuple[Tensor, Tensor]:
    """Return where the run begins, with x_0 on the scale 1, and its end."""
    draws = Draws()
    monkeypatch.setattr(f"{type(scheduler).__module__}.randn_tensor", draws, raising=False)
    scheduler.set_timesteps(steps)
    exploding = "init_noise_sigma" in dir(scheduler) and float(scheduler.init_noise_sigma) != 1
    start = x_T / math.sqrt(1 + float(scheduler.sigmas[0]) ** 2) if exploding else x_T
    # A schedule of noise levels may begin with √(σ² + 1) or with σ times a unit normal: here with x_T.
    x = x_T
    for t in scheduler.timesteps:
        output = network(scheduler.scale_model_input(x, t), t)
        x = scheduler.step(output, t, x).prev_sample
    return start, x


def ours(options: dict[str, Any], steps: int, start: Tensor) -> Tensor:
    config = SchedulerConfig.from_json(options)
    plan, draws = plan_sampling(config, steps=steps), Draws()
    further = (config.time_of,) if plan.sampler.in_sigma else ()
    predict = predictor(network, plan.config)
    *_, (x, _) = plan.sampler.run(predict, start, plan.steps, draws, *further, **plan.options)
    return x / math.sqrt(plan.steps[-1].alpha_bar_prev) if "Discrete" in options["_class_name"] else x


DRAWN = random.Random(0).sample(list(combinations()), 400)


@pytest.mark.parametrize("name", GRID)
def test_drawn_combinations_end_where_those_of_diffusers_do(name, monkeypatch, relative_error):
    warnings.filterwarnings("ignore", category=DeprecationWarning)
    x_T = torch.randn(1, 1, 2, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64) * 20
    misses = {}
    for _, options, steps in (drawn for drawn in DRAWN if drawn[0] == name):
        scheduler = getattr(diffusers, f"{name}Scheduler")(**options)
        start, expected = theirs(scheduler, steps, x_T, monkeypatch)
        error = relative_error(
            ours(dict(scheduler.config) | {"_class_name": f"{name}Scheduler"}, steps, start), expected
        )
        if not error <= 3e-4:
            misses[f"{options} {steps}"] = error
    print(*misses.items(), sep="\n")
    assert not misses
