"""Trajectories of samplers that walk σ against diffusers' Euler and Heun and against k-diffusion."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from zoo_ddpm.prediction import predictor
from zoo_ddpm.samplers import dpm2, dpmpp_3m, euler, euler_ancestral, heun, lms
from zoo_ddpm.samplers.sigma import in_sigma
from zoo_ddpm.sampling import sampler_steps
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.sigmas import exponential, karras


def network(x: Tensor, t: float) -> Tensor:
    return 0.5 * x + 0.5 * math.sin(t / 100)


@pytest.mark.parametrize("name", ["euler", "heun"])
def test_euler_and_heun_follow_diffusers(golden, relative_error, name):
    case = golden(f"sampler_{name}")
    # Heun's trajectory has an entry after each network call; the last step takes one.
    stride = 2 if name == "heun" else 1
    for run, about in case.runs.items():
        config = SchedulerConfig.from_json({"_class_name": about["scheduler"], **about["scheduler_config"]})
        steps = sampler_steps(config, name, about["num_inference_steps"])
        theirs = case[f"outputs/{run}/trajectory_f64"]
        theirs = torch.cat([theirs[:-1:stride], theirs[-1:]])

        sigmas = [
            *(step._replace(alpha_bar=step.alpha_bar or 2.0**-24).sigma for step in steps),
            steps[-1].sigma_next,
        ]
        expected = case[f"intermediates/{run}/sigmas_f64"].tolist()
        assert sigmas == pytest.approx([*expected[:-1:stride], expected[-1]], rel=1e-9, abs=1e-12), run
        times = case[f"intermediates/{run}/timesteps_f64"].tolist()
        assert [step.t for step in steps] == pytest.approx([times[0], *times[1::stride]], abs=1e-6), run
        # diffusers begins with σ times a unit normal, or √(σ² + 1) times one; here the start is given.
        start = theirs[0] / math.sqrt(1 + sigmas[0] ** 2)
        sampler = in_sigma({"euler": euler, "heun": heun}[name])
        walk = list(sampler(predictor(network, config), start, steps, torch.zeros_like, config.time_of))
        scaled = [x * math.sqrt(1 + sigma**2) for (x, _), sigma in zip(walk, sigmas[1:], strict=True)]
        assert relative_error(torch.stack(scaled), theirs[1:]) <= 1e-9, run


SAMPLERS = {
    "sample_euler": euler,
    "sample_heun": heun,
    "sample_dpm_2": dpm2,
    "sample_lms": lms,
    "sample_euler_ancestral": euler_ancestral,
    "sample_dpmpp_2m": lambda *a: dpmpp_3m(*a, order=2, lower_order_final=False),
}


def test_samplers_follow_k_diffusion(golden, relative_error):
    case = golden("sampler_kdiffusion")
    for run, about in case.runs.items():
        sig = about["sig"]
        spacing = exponential if about.get("sched") == "exponential" else karras
        sigmas = [*spacing(sig["n"], sig["sigma_min"], sig["sigma_max"]), 0.0]
        assert sigmas == pytest.approx(case[f"intermediates/{run}/sigmas_f64"].tolist(), rel=1e-9), run
        arguments = dict(about.get("args", {}))
        churned = "s_churn" in arguments
        if churned:
            arguments = {
                "churn": arguments["s_churn"],
                "churn_band": (arguments["s_tmin"], arguments["s_tmax"]),
                "noise_scale": arguments["s_noise"],
            }
        levels: list[float] = []

        def denoise(x: Tensor, sigma: float, levels: list[float] = levels) -> Tensor:
            levels.append(sigma)
            return x / (1 + sigma**2) + 0.3 * torch.tanh(x) / (1 + sigma)

        def noise(sigma: float, sigma_next: float, churned: bool = churned, sigmas=sigmas, run=run) -> Tensor:
            step = sigmas.index(sigma_next if churned else sigma)
            return case[f"inputs/{run}/noise"][step].double()

        start = case["inputs/x_T"].double() * sigmas[0]
        walk = list(SAMPLERS[about["fn"]](denoise, start, sigmas, noise, **arguments))
        theirs = case[f"outputs/{run}/trajectory_f64"]
        ours, x_0s = torch.stack([x for x, _ in walk]), torch.stack([x_0 for _, x_0 in walk])
        assert relative_error(x_0s, case[f"outputs/{run}/denoised_f64"]) <= 1e-9, run
        # Trajectories of churned runs hold the states after adding noise: only the last is comparable.
        assert relative_error(ours[-1:] if churned else ours, theirs[-1:] if churned else theirs[1:]) <= 1e-9
