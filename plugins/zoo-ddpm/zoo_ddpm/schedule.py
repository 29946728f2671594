"""The forward process q(x_t | x_0) = N(√ᾱ_t x_0, (1 − ᾱ_t) I), and what a model was trained with.

Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models" (arXiv:2006.11239), section 2. Field names
and values are those of diffusers' ``scheduler_config.json``, the file published checkpoints carry. Timesteps
count from 0 (least noise) to T − 1. Tables are float64: a cumulative product of a thousand factors in float32
is off by up to 4e-5, which the noisiest steps magnify.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from typing import Any

import torch
from torch import Tensor

from zoo_core import WeightsError

_OURS = ("sampler", "replaced")
"""Fields that are not options of the file."""
PREDICTIONS = ("epsilon", "v_prediction", "sample")
VARIANCES = ("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range")
SPACINGS = ("leading", "trailing", "linspace", "quadratic")

SAMPLERS = {
    "DDPMScheduler": "ddpm",
    "DDIMScheduler": "ddim",
    "DPMSolverMultistepScheduler": "dpmpp-2m",
    "DDPMParallelScheduler": "ddpm",
    "DDIMParallelScheduler": "ddim",
}
"""The sampler that a scheduler class of diffusers stands for."""

OTHER_SCHEDULERS = frozenset(
    f"{name}Scheduler"
    for name in (
        "PNDM", "EulerDiscrete", "EulerAncestralDiscrete", "HeunDiscrete", "LMSDiscrete",
        "KDPM2Discrete", "KDPM2AncestralDiscrete", "UniPCMultistep", "DEISMultistep", "DPMSolverSinglestep",
        "DPMSolverSDE", "DDIMInverse",
    )
)  # fmt: skip
"""Schedulers of diffusers with the same noise schedules, whose samplers are not implemented here."""
FALLBACK = "ddim"
"""The sampler for their checkpoints, if no other is asked for."""

_UNCLIPPED: Mapping[str, Any] = {"clip_sample": False}
_LATENT: Mapping[str, Any] = {"clip_sample": False, "beta_start": 0.00085, "beta_end": 0.012}
_DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "DDIMInverseScheduler": {},
    **{name: {} for name, sampler in SAMPLERS.items() if sampler != "dpmpp-2m"},
    **dict.fromkeys(
        ("HeunDiscreteScheduler", "KDPM2DiscreteScheduler", "KDPM2AncestralDiscreteScheduler"), _LATENT
    ),
    "PNDMScheduler": {"clip_sample": False, "set_alpha_to_one": False},
}
"""Defaults of a scheduler class that are not those of DDPMScheduler; all others only do not clip."""

_ONLY: Mapping[str, Any] = {
    "solver_order": 2,
    "algorithm_type": "dpmsolver++",
    "solver_type": "midpoint",
    "euler_at_final": False,
    "use_karras_sigmas": False,
    "use_exponential_sigmas": False,
    "use_beta_sigmas": False,
    "use_lu_lambdas": False,
}
"""Options of DPM-Solver schedulers for which one value is implemented; others are sampled by FALLBACK."""

_SAME_PROCESS: Mapping[str, Any] = {
    "use_flow_sigmas": False,
    "use_dynamic_shifting": False,
    "timestep_type": "discrete",
    "shift_terminal": None,
}
"""Options that make the noise process another one with any other value: no sampler of ours fits it."""

_WITHOUT_EFFECT = frozenset({"lambda_min_clipped", "flow_shift", "time_shift_type", "tensor_format"})
"""Options that act only together with one that is not supported, or never."""

_OF_OTHER_SAMPLERS = frozenset({
    "disable_corrector", "interpolation_type", "noise_sampler_seed", "predict_x0", "sigma_max", "sigma_min",
    "skip_prk_steps", "solver_p",
})  # fmt: skip
"""Options of the samplers of OTHER_SCHEDULERS alone."""


@dataclass(frozen=True)
class SchedulerConfig:
    """A noise schedule and how a model trained on it is meant to be sampled."""

    num_train_timesteps: int = 1000
    """T, the number of diffusion steps."""
    beta_start: float = 0.0001
    beta_end: float = 0.02
    beta_schedule: str = "linear"
    """``linear``, ``scaled_linear`` (linear in √β) or ``squaredcos_cap_v2`` (cosine)."""
    trained_betas: tuple[float, ...] | None = None
    """Betas given one by one; they win over ``beta_schedule``."""
    rescale_betas_zero_snr: bool = False
    """Shift the schedule so that x_{T−1} is pure noise."""
    prediction_type: str = "epsilon"
    """What the network was trained to give: ``epsilon``, ``v_prediction`` or ``sample`` (x_0)."""
    variance_type: str = "fixed_small"
    """Variance of the reverse steps: see :func:`zoo_ddpm.samplers.ddpm`."""
    clip_sample: bool = True
    """Clip the predicted x_0 to ``±clip_sample_range``."""
    clip_sample_range: float = 1.0
    thresholding: bool = False
    """Dynamic thresholding of the predicted x_0, instead of clipping."""
    dynamic_thresholding_ratio: float = 0.995
    sample_max_value: float = 1.0
    timestep_spacing: str | None = None
    """One of ``SPACINGS``; None: the sampler's own."""
    steps_offset: int = 0
    """Added to every timestep of ``leading`` spacing."""
    set_alpha_to_one: bool = True
    """The last step of DDIM leads to ᾱ = 1; False: to the ᾱ of timestep 0."""
    final_sigmas_type: str = "zero"
    """The same for DPM-Solver: ``zero`` or ``sigma_min``."""
    lower_order_final: bool = True
    """DPM-Solver takes its last step to first order when there are fewer than 15."""
    sampler: str = "ddpm"
    """The sampler of the file's scheduler class; not an option of the file itself."""
    replaced: str | None = None
    """The file's scheduler class, if it is not implemented and ``sampler`` stands in for it."""

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str = "scheduler_config.json") -> SchedulerConfig:
        """Read a parsed ``scheduler_config.json``; an option that is null counts as left out.

        Raises:
            WeightsError: Names the first unknown option or value.
        """
        name = config.get("_class_name", "DDPMScheduler")
        if name not in SAMPLERS and name not in OTHER_SCHEDULERS:
            raise _unfit(source, f"the scheduler class is {name!r}", f"one of {', '.join(SAMPLERS)}")
        for key, only in _SAME_PROCESS.items():
            if config.get(key) not in (None, only):
                raise _unfit(source, f"the option {key!r} is {config[key]!r}", f"{only!r}")
        known = {field.name for field in fields(cls) if field.name not in _OURS}
        differing = {key for key, value in _ONLY.items() if config.get(key) not in (None, value)}
        if config.get("final_sigmas_type") in (None, "zero"):
            differing.discard("euler_at_final")  # a step to clean data is Euler's in any case
        is_replaced = name in OTHER_SCHEDULERS or bool(differing)
        values: dict[str, Any] = {
            **_DEFAULTS.get(name, _UNCLIPPED),
            "sampler": FALLBACK if is_replaced else SAMPLERS[name],
            "replaced": name if is_replaced else None,
        }
        without_effect = _WITHOUT_EFFECT | (_OF_OTHER_SAMPLERS if is_replaced else frozenset())
        for key, value in config.items():
            if key.startswith("_") or value is None or key in (*without_effect, *_ONLY, *_SAME_PROCESS):
                continue
            if key == "predict_epsilon" and isinstance(value, bool):  # diffusers before 0.10
                values.setdefault("prediction_type", "epsilon" if value else "sample")
            elif key in known:
                values[key] = tuple(value) if isinstance(value, list) else value
            else:
                raise _unfit(
                    source, f"the option {key!r} (= {value!r}) is unknown", "the options of zoo_ddpm.schedule"
                )
        self = cls(**values)
        self._check(source)
        return self

    def to_json(self) -> dict[str, Any]:
        """Return a ``scheduler_config.json`` that diffusers reads back: the options that are not defaults."""
        name = next(name for name, sampler in SAMPLERS.items() if sampler == self.sampler)
        options = {
            field.name: getattr(self, field.name)
            for field in fields(self)
            if field.name not in _OURS and getattr(self, field.name) != field.default
        }
        return {"_class_name": name, "num_train_timesteps": self.num_train_timesteps, **options}

    def _check(self, source: str) -> None:
        for key, allowed in {
            "beta_schedule": BETA_SCHEDULES,
            "prediction_type": PREDICTIONS,
            "variance_type": VARIANCES,
            "timestep_spacing": (None, *SPACINGS),
            "final_sigmas_type": ("zero", "sigma_min"),
        }.items():
            if getattr(self, key) not in allowed:
                raise _unfit(
                    source, f"{key} is {getattr(self, key)!r}", f"one of {', '.join(filter(None, allowed))}"
                )
        for field in fields(self):
            assert field.default is not MISSING
            expected = type(field.default)
            value = getattr(self, field.name)
            fits = type(value) is expected or (expected is float and type(value) is int)
            if field.default is not None and not fits:
                raise _unfit(source, f"{field.name} is {value!r}", f"a value of type {expected.__name__}")
        if self.trained_betas is not None and len(self.trained_betas) != self.num_train_timesteps:
            raise _unfit(
                source,
                f"trained_betas has {len(self.trained_betas)} values",
                f"{self.num_train_timesteps} of them",
            )
        betas = self.betas()
        if not bool(((betas > 0) & (betas <= 1)).all()):
            raise _unfit(
                source, f"betas run from {betas.min():g} to {betas.max():g}", "betas above 0 and up to 1"
            )
        if self.alphas_bar()[-1] == 0 and self.prediction_type == "epsilon":
            raise _unfit(
                source,
                "the last timestep is pure noise beside prediction_type 'epsilon'",
                "v_prediction or sample there, for noise says nothing about x_0",
            )

    def betas(self) -> Tensor:
        """β_0 … β_{T−1}, float64, shape (T,)."""
        if self.trained_betas is not None:
            betas = torch.tensor(self.trained_betas, dtype=torch.float64)
        else:
            schedule = BETA_SCHEDULES[self.beta_schedule]
            betas = schedule(self.num_train_timesteps, self.beta_start, self.beta_end)
        return zero_terminal_snr(betas) if self.rescale_betas_zero_snr else betas

    def alphas_bar(self) -> Tensor:
        """ᾱ_t = ∏_{s ≤ t} (1 − β_s), float64, shape (T,), descending (Ho et al. eq. 4)."""
        return torch.cumprod(1.0 - self.betas(), dim=0)


def linear(T: int, beta_start: float, beta_end: float) -> Tensor:
    """Evenly spaced betas (Ho et al. section 4), float64, shape (T,)."""
    return torch.linspace(beta_start, beta_end, T, dtype=torch.float64)


def scaled_linear(T: int, beta_start: float, beta_end: float) -> Tensor:
    """Betas whose square roots are evenly spaced (Rombach et al. 2022), float64, shape (T,)."""
    return torch.linspace(beta_start**0.5, beta_end**0.5, T, dtype=torch.float64) ** 2


def cosine(T: int, beta_start: float, beta_end: float) -> Tensor:
    """Betas of ᾱ(u) = cos²((u + s)/(1 + s) · π/2), s = 0.008, float64, shape (T,).

    Nichol & Dhariwal 2021 (arXiv:2102.09672), eq. 17. The two bounds are not used; betas are capped at 0.999
    as in the paper.
    """

    def alpha_bar(u: float) -> float:
        return math.cos((u + 0.008) / 1.008 * math.pi / 2) ** 2

    betas = [min(1 - alpha_bar((t + 1) / T) / alpha_bar(t / T), 0.999) for t in range(T)]
    return torch.tensor(betas, dtype=torch.float64)


BETA_SCHEDULES = {"linear": linear, "scaled_linear": scaled_linear, "squaredcos_cap_v2": cosine}


def zero_terminal_snr(betas: Tensor) -> Tensor:
    """Shift and scale √ᾱ so that it ends at zero and begins where it began; (T,) to (T,).

    Lin et al. 2023, "Common diffusion noise schedules and sample steps are flawed" (arXiv:2305.08891),
    Algorithm 1.
    """
    root = torch.cumprod(1.0 - betas, dim=0).sqrt()
    root = (root - root[-1]) * root[0] / (root[0] - root[-1])
    alphas_bar = root**2
    alphas = torch.cat([alphas_bar[:1], alphas_bar[1:] / alphas_bar[:-1]])
    return 1.0 - alphas


def _unfit(source: str, found: str, expected: str) -> WeightsError:
    return WeightsError(
        f"{source}: {found}.", f"zoo-ddpm reads {expected}; use another checkpoint or correct that file."
    )
