"""The scheduler classes of diffusers: the sampler each stands for, its defaults and its own options.

A class is here if its noise process is ours: x_t = √ᾱ_t x_0 + √(1 − ᾱ_t) ε with ᾱ from betas, or from noise
levels σ² = (1 − ᾱ)/ᾱ; x_t/√ᾱ_t is then the noisy image of that class.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

FALLBACK = "ddim"
"""The sampler for checkpoints of a class whose own sampler is not implemented, if no other is asked for."""

WITHOUT_EFFECT = frozenset({
    "flow_shift", "lambda_min_clipped", "noise_sampler_seed", "sampling_eps", "shift_terminal",
    "tensor_format", "time_shift_type", "timestep_values", "use_default_values",
})  # fmt: skip
"""Options that act only together with one that is not supported, or never."""


@dataclass(frozen=True)
class SchedulerClass:
    """A scheduler class of diffusers."""

    sampler: str | None
    """The sampler that it stands for; None: not implemented."""
    defaults: Mapping[str, Any]
    """Defaults that are not those of DDPMScheduler."""
    own: frozenset[str]
    """Options that this class has and DDPMScheduler has not, and that no other class may have here."""
    preconditioning: str | None = None
    """See ``zoo_ddpm.preconditioning``."""


def _row(
    sampler: str | None, own: str = "", preconditioning: str | None = None, **defaults: Any
) -> SchedulerClass:
    return SchedulerClass(
        sampler, {"clip_sample": False, **defaults}, frozenset(own.split()), preconditioning
    )


_LATENT: Mapping[str, Any] = {"beta_start": 0.00085, "beta_end": 0.012}
_DISTILLED: Mapping[str, Any] = {**_LATENT, "beta_schedule": "scaled_linear"}
_EDM: Mapping[str, Any] = {"sigma_schedule": "karras", "sigma_min": 0.002, "sigma_max": 80.0}
_SCORE: Mapping[str, Any] = {"sigma_schedule": "exponential", "sigma_min": 0.01, "sigma_max": 1348.0}
_SOLVER = "solver_order solver_type algorithm_type "

CLASSES: Mapping[str, SchedulerClass] = {
    "DDPMScheduler": _row("ddpm", clip_sample=True),
    "DDIMScheduler": _row("ddim", clip_sample=True),
    "DDPMParallelScheduler": _row("ddpm", clip_sample=True),
    "DDIMParallelScheduler": _row("ddim", clip_sample=True),
    "DDIMInverseScheduler": _row("ddim", clip_sample=True),
    "RePaintScheduler": _row("ddpm", "eta", clip_sample=True),
    "PNDMScheduler": _row("pndm", set_alpha_to_one=False),
    "LMSDiscreteScheduler": _row("lms"),
    "EulerDiscreteScheduler": _row("euler", "interpolation_type timestep_type"),
    "EulerAncestralDiscreteScheduler": _row("euler-ancestral"),
    "HeunDiscreteScheduler": _row("heun", **_LATENT),
    "KDPM2DiscreteScheduler": _row("dpm2", **_LATENT),
    "KDPM2AncestralDiscreteScheduler": _row("dpm2-ancestral", **_LATENT),
    "DPMSolverMultistepScheduler": _row("dpmpp-2m", _SOLVER),
    "DPMSolverMultistepInverseScheduler": _row("dpmpp-2m", _SOLVER),
    "DPMSolverSDEScheduler": _row("dpmpp-sde", **_LATENT),
    "UniPCMultistepScheduler": _row(
        "unipc", "solver_order solver_type predict_x0 disable_corrector solver_p"
    ),
    "LCMScheduler": _row("lcm", "original_inference_steps timestep_scaling", **_DISTILLED),
    "EDMEulerScheduler": _row("euler", "sigma_schedule sigma_data rho", "edm", **_EDM),
    "EDMDPMSolverMultistepScheduler": _row(
        "dpmpp-2m", _SOLVER + "sigma_schedule sigma_data rho", "edm", **_EDM
    ),
    "CMStochasticIterativeScheduler": _row(
        "consistency", "sigma_data rho s_noise clip_denoised", "consistency", num_train_timesteps=40, **_EDM
    ),
    "ScoreSdeVeScheduler": _row(
        "predictor-corrector",
        "snr correct_steps sampling_eps",
        "score",
        num_train_timesteps=2000,
        timestep_spacing="exponential",
        **_SCORE,
    ),
    "DPMSolverSinglestepScheduler": _row(None, _SOLVER),
    "DEISMultistepScheduler": _row(None, _SOLVER),
    "SASolverScheduler": _row(None, _SOLVER + "predictor_order corrector_order tau_func"),
    "TCDScheduler": _row(None, "original_inference_steps timestep_scaling", **_DISTILLED),
}
"""The classes by name."""

OWN_OPTIONS = frozenset().union(*(row.own for row in CLASSES.values()))
"""All options that only some classes have."""
