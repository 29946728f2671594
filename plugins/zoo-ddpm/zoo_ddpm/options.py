"""The options of a diffusion model, and the plan of sampling that they make."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from zoo_core import OptionError
from zoo_ddpm.samplers import OwnSampler
from zoo_ddpm.sampling import FlowConfig, SamplingPlan, Schedule, plan_sampling


@dataclass(frozen=True)
class SamplingOptions:
    """The options of a diffusion model; zoo.toml describes them."""

    sampler: str | OwnSampler | None
    steps: int | None
    spacing: str | None
    sigmas: str | None
    eta: float | None
    order: int | None
    solver_type: str | None
    churn: float | None
    tolerance: float | None
    label: tuple[int | None, ...]
    guidance_scale: float | None
    guidance_interval: str | None
    guidance_rescale: float | None
    guide: str | None
    classifier: str | None
    classifier_scale: float | None
    clip: str | None


def sampling_plan(scheduler: Schedule, options: SamplingOptions) -> SamplingPlan:
    """Return how to sample a model of this scheduler; OptionError if the options contradict each other."""
    return plan_sampling(
        with_clipping(scheduler, options.clip),
        options.sampler,
        options.steps,
        options.spacing,
        numbers(options.sigmas, "--sigmas") if options.sigmas else None,
        eta=options.eta,
        order=options.order,
        solver_type=options.solver_type,
        churn=options.churn,
        tolerance=options.tolerance,
    )


def numbers(text: str, flag: str) -> list[float]:
    """Read numbers separated by commas."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise OptionError(f"{flag} {text}: not a list of numbers.", f"Give {flag} 10,3,1,0.3.") from None


def with_clipping(scheduler: Schedule, clip: str | None) -> Schedule:
    """Return the config with another clipping of x_0: ``none``, ``static`` or ``dynamic``; None keeps it."""
    if clip is None:
        return scheduler
    if isinstance(scheduler, FlowConfig):
        if clip != "none":
            raise OptionError(f"--clip {clip} is not for flows.", "Leave out --clip.")
        return scheduler
    if clip != "dynamic":
        return replace(scheduler, thresholding=False, clip_sample=clip == "static")
    # Without thresholding a config's ceiling is 1, which would make dynamic clipping static.
    ceiling = scheduler.sample_max_value if scheduler.thresholding else math.inf
    return replace(scheduler, thresholding=True, sample_max_value=ceiling)
