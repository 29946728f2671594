"""The forward process q(x_t | x_0) = N(√ᾱ_t x_0, (1 − ᾱ_t) I), and what a model was trained with.

Ho, Jain & Abbeel 2020, "Denoising diffusion probabilistic models" (arXiv:2006.11239), section 2. Field names
and values are those of diffusers' ``scheduler_config.json``, the file published checkpoints carry. Timesteps
count from 0 (least noise) to T − 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Annotated, Any, Literal

import numpy as np
import torch
from torch import Tensor

from zoo_core import Between, WeightsError, read_config
from zoo_ddpm.betas import BETA_SCHEDULES, zero_terminal_snr
from zoo_ddpm.diffusers_schedulers import CLASSES, FALLBACK, OWN_OPTIONS, WITHOUT_EFFECT
from zoo_ddpm.sigmas import exponential, karras

SMALLEST_ALPHA_BAR = 2.0**-24
"""Stands for ᾱ = 0 where σ would be infinite, as in diffusers."""

_OURS = ("sampler", "solver", "replaced", "preconditioning")
"""Fields that are not options of the file."""

REMEDY = "Correct that file, or use another checkpoint."

PredictionType = Literal["epsilon", "v_prediction", "sample"]
VarianceType = Literal[
    "fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log", "learned", "learned_range"
]
Spacing = Literal[
    "leading", "trailing", "linspace", "quadratic", "karras", "exponential", "polyexponential", "beta"
]
BetaSchedule = Literal["linear", "scaled_linear", "squaredcos_cap_v2", "sigmoid"]
Share = Annotated[float, Between(0, 1)]
Level = Annotated[float, Between(1e-8, 1e8)]


@dataclass(frozen=True)
class SchedulerConfig:
    """A noise schedule and how a model trained on it is meant to be sampled.

    Raises:
        ValueError: The settings make no noise schedule, or contradict each other.
    """

    num_train_timesteps: Annotated[int, Between(1, 100_000)] = 1000
    """T, the number of diffusion steps."""
    beta_start: Share = 0.0001
    beta_end: Share = 0.02
    beta_schedule: BetaSchedule = "linear"
    """``scaled_linear`` is linear in √β, ``squaredcos_cap_v2`` the cosine schedule."""
    trained_betas: tuple[Share, ...] | None = None
    """Betas given one by one; they win over ``beta_schedule``."""
    sigma_schedule: Literal[None, "karras", "exponential"] = None
    """Noise levels from ``sigma_min`` to ``sigma_max``, so spaced, instead of betas."""
    rho: Annotated[float, Between(1, 100)] = 7.0
    """The exponent of ``karras``."""
    rescale_betas_zero_snr: bool = False
    """Shift the schedule so that x_{T−1} is pure noise."""
    prediction_type: PredictionType = "epsilon"
    """What the network was trained to give: ``epsilon``, ``v_prediction`` or ``sample`` (x_0)."""
    preconditioning: Literal[None, "edm", "consistency", "score"] = None
    """How the output leads to x_0, if not by ``prediction_type``: see ``zoo_ddpm.preconditioning``."""
    sigma_data: Level = 0.5
    """The standard deviation of the data, which ``edm`` and ``consistency`` assume."""
    rescale_timesteps: bool = False
    """The network is given t · 1000/T; not in diffusers."""
    variance_type: VarianceType = "fixed_small"
    """Variance of the reverse steps: see :func:`zoo_ddpm.samplers.log_variance`."""
    clip_sample: bool = True
    """Clip the predicted x_0 to ``±clip_sample_range``."""
    clip_sample_range: Level = 1.0
    thresholding: bool = False
    """Dynamic thresholding of the predicted x_0, instead of clipping."""
    dynamic_thresholding_ratio: Share = 0.995
    sample_max_value: Level = 1.0
    timestep_spacing: Spacing | None = None
    """A spacing of timesteps or of noise levels; None: the sampler's own."""
    steps_offset: Annotated[int, Between(0, 100_000)] = 0
    """Added to every timestep of ``leading`` spacing."""
    sigma_min: Level | None = None
    """The lowest level of a spacing of noise levels; None: that of the schedule."""
    sigma_max: Level | None = None
    """The highest."""
    set_alpha_to_one: bool = True
    """The last step of DDIM and PNDM leads to ᾱ = 1; False: to the ᾱ of timestep 0."""
    final_sigmas_type: Literal["zero", "sigma_min"] = "zero"
    """The same for other samplers: ``zero`` is clean data, ``sigma_min`` the level of timestep 0."""
    lower_order_final: bool = True
    """DPM-Solver takes its last step to first order when there are fewer than 15."""
    euler_at_final: bool = False
    """It does so however many there are."""
    original_inference_steps: Annotated[int, Between(1, 100_000)] = 50
    """Timesteps that a latent consistency model was distilled at."""
    timestep_scaling: Level = 10.0
    """See :func:`zoo_ddpm.samplers.lcm`."""
    sampler: str = "ddpm"
    """The sampler of the file's scheduler class; not an option of the file itself."""
    solver: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """Options of that sampler in the file, as arguments of its function."""
    replaced: str | None = None
    """The file's scheduler class, if it is not implemented and ``sampler`` stands in for it."""

    def __post_init__(self) -> None:
        T = self.num_train_timesteps
        if self.trained_betas is not None and len(self.trained_betas) != T:
            raise ValueError(f"trained_betas has {len(self.trained_betas)} values; expected {T:,}.")
        if self.sigma_schedule and not 0 < (self.sigma_min or 0) < (self.sigma_max or 0):
            raise ValueError(f"sigma_min is {self.sigma_min} and sigma_max {self.sigma_max}: no range.")
        betas = self.betas()
        if not bool(((betas > 0) & (betas <= 1)).all()):
            raise ValueError(
                f"the betas run from {betas.min():g} to {betas.max():g}; expected above 0 and up to 1."
            )
        if self.alphas_bar()[-1] == 0 and self.prediction_type == "epsilon":
            raise ValueError(
                "the last timestep is pure noise, and prediction_type is epsilon, of which x_0 cannot be "
                "computed there."
            )

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str = "scheduler_config.json") -> SchedulerConfig:
        """Read a parsed ``scheduler_config.json``; an option that is null counts as left out.

        Raises:
            WeightsError: Names the first unknown option or value.
        """
        given = {key: value for key, value in config.items() if value is not None}
        name = given.pop("_class_name", "DDPMScheduler")
        if not isinstance(name, str) or name not in CLASSES:
            raise WeightsError(
                f"{source}: _class_name is {name!r:.60}, whose noise process zoo-ddpm does not have.",
                f"Use a checkpoint of one of {', '.join(CLASSES)}.",
            )
        row = CLASSES[name]
        foreign = [key for key in given if key in _OURS or key in OWN_OPTIONS - row.own]
        if foreign:
            raise WeightsError(f"{source}: unknown setting {foreign[0]!r} of {name}.", REMEDY)
        if given.get("predict_epsilon") is False:  # diffusers before 0.10
            given.setdefault("prediction_type", "sample")
        read = read_config(
            _SchedulerFile,
            {**row.defaults, **{key: value for key, value in given.items() if key[0:1] != "_"}},
            source,
            ignore=WITHOUT_EFFECT,
            aliases={"timesteps": "num_train_timesteps"},
            remedy=REMEDY,
        )
        return read.resolved(name)

    def to_json(self) -> dict[str, Any]:
        """Return a ``scheduler_config.json`` that diffusers reads back: the options that are not defaults."""
        name = next(name for name, row in CLASSES.items() if row.sampler == self.sampler)
        defaults = SchedulerConfig()
        options = {
            option.name: getattr(self, option.name)
            for option in fields(self)
            if option.name not in _OURS
            and getattr(self, option.name)
            != CLASSES[name].defaults.get(option.name, getattr(defaults, option.name))
        }
        return {"_class_name": name, "num_train_timesteps": self.num_train_timesteps, **options}

    def training_levels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return √ᾱ, √(1 − ᾱ) and the network's times of all timesteps: each (T,)."""
        alphas_bar = self.alphas_bar()
        times = torch.arange(self.num_train_timesteps)
        return alphas_bar.sqrt().float(), (1 - alphas_bar).sqrt().float(), times

    @property
    def is_distilled(self) -> bool:
        """The network goes to x_0 at once, from the few timesteps that it was distilled at."""
        return self.sampler in ("lcm", "consistency")

    def sigma_range(self) -> tuple[float, float]:
        """Return the lowest and the highest σ = √((1 − ᾱ)/ᾱ)."""
        table = _sigmas(self)
        return float(table[0]), float(table[-1])

    def sigma_at(self, t: float) -> float:
        """Return σ at a timestep, which may lie between two."""
        return float(np.interp(t, np.arange(self.num_train_timesteps), _sigmas(self)))

    def time_of(self, sigma: float) -> float:
        """Return the timestep, in general between two, of a noise level: linear in log σ."""
        table = _sigmas(self)
        return float(np.interp(math.log(sigma), np.log(table), np.arange(len(table))))

    def network_time(self, t: float) -> float:
        """Return what the network is given for timestep t."""
        return t * 1000 / self.num_train_timesteps if self.rescale_timesteps else t

    def betas(self) -> Tensor:
        """β_0 … β_{T−1}, float64, shape (T,)."""
        if self.sigma_schedule:
            alphas_bar = self.alphas_bar()
            return 1 - alphas_bar / torch.cat([torch.ones(1, dtype=torch.float64), alphas_bar[:-1]])
        if self.trained_betas is not None:
            betas = torch.tensor(self.trained_betas, dtype=torch.float64)
        else:
            schedule = BETA_SCHEDULES[self.beta_schedule]
            betas = schedule(self.num_train_timesteps, self.beta_start, self.beta_end)
        return zero_terminal_snr(betas) if self.rescale_betas_zero_snr else betas

    def alphas_bar(self) -> Tensor:
        """ᾱ_t = ∏_{s ≤ t} (1 − β_s), float64, shape (T,), descending (Ho et al. eq. 4)."""
        if self.sigma_schedule:
            T, low, high = self.num_train_timesteps, self.sigma_min or 0.0, self.sigma_max or 0.0
            spaced = (
                karras(T, low, high, self.rho)
                if self.sigma_schedule == "karras"
                else exponential(T, low, high)
            )
            return 1 / (1 + torch.tensor(spaced[::-1], dtype=torch.float64) ** 2)
        return torch.cumprod(1.0 - self.betas(), dim=0)


@dataclass(frozen=True)
class _SchedulerFile(SchedulerConfig):
    """A ``scheduler_config.json``: also the options that choose a sampler, and those that must be off."""

    predict_epsilon: bool = True
    solver_order: Annotated[int, Between(1, 3)] | None = None
    solver_type: Literal["midpoint", "heun", "bh1", "bh2", "logrho"] | None = None
    algorithm_type: Literal[
        "dpmsolver", "dpmsolver++", "sde-dpmsolver", "sde-dpmsolver++", "deis", "data_prediction",
        "noise_prediction",
    ] = "dpmsolver++"  # fmt: skip
    predict_x0: bool = True
    disable_corrector: tuple[int, ...] = ()
    solver_p: None = None
    skip_prk_steps: bool = False
    eta: Share = 0.0
    predictor_order: int = 2
    corrector_order: int = 2
    tau_func: None = None
    interpolation_type: Literal["linear", "log_linear"] = "linear"
    timestep_type: Literal["discrete"] = "discrete"
    use_karras_sigmas: bool = False
    use_exponential_sigmas: bool = False
    use_beta_sigmas: bool = False
    use_lu_lambdas: bool = False
    use_flow_sigmas: Literal[False] = False
    use_dynamic_shifting: Literal[False] = False
    clip_denoised: bool = True
    s_noise: Level = 1.0
    snr: Level = 0.15
    correct_steps: Annotated[int, Between(0, 100)] = 1

    def resolved(self, class_name: str) -> SchedulerConfig:
        """Return the config of a file with this scheduler class."""
        own = {option.name: getattr(self, option.name) for option in fields(SchedulerConfig)}
        for spacing, on in {
            "karras": self.use_karras_sigmas,
            # λ = −log σ, so that Lu et al.'s uniform λ is exponential spacing.
            "exponential": self.use_exponential_sigmas
            or self.use_lu_lambdas
            or self.interpolation_type != "linear",
            "beta": self.use_beta_sigmas,
        }.items():
            if on:
                own["timestep_spacing"] = spacing
        own["preconditioning"] = CLASSES[class_name].preconditioning
        if own["preconditioning"] == "consistency":
            own["original_inference_steps"] = self.num_train_timesteps
            own["clip_sample"] = self.clip_denoised
        elif own["preconditioning"] == "edm":
            own["timestep_spacing"] = self.sigma_schedule
        elif own["preconditioning"] == "score":
            # Its images are in [0, 1], where noise counts for twice as much.
            own["sigma_min"], own["sigma_max"] = 2 * (self.sigma_min or 0.0), 2 * (self.sigma_max or 0.0)
        own["sampler"], own["solver"], exact = self._sampler(class_name)
        return SchedulerConfig(**own | {"replaced": None if exact else class_name})

    def _sampler(self, class_name: str) -> tuple[str, dict[str, Any], bool]:
        """Return the sampler of a scheduler class, its arguments, and whether it is that of the class."""
        name = CLASSES[class_name].sampler
        order = self.solver_order or 2
        if name == "unipc":
            solver_type = self.solver_type if self.solver_type in ("bh1", "bh2") else "bh2"
            return name, {
                "order": order,
                "solver_type": solver_type,
                "predict_x0": self.predict_x0,
                "disable_corrector": self.disable_corrector,
            }, True  # fmt: skip
        if name == "dpmpp-2m":
            return self._dpmpp(order)
        if name == "consistency":
            return name, {"s_noise": self.s_noise}, True
        if name == "predictor-corrector":
            return name, {"snr": self.snr, "corrections": self.correct_steps}, True
        return name or FALLBACK, {}, name is not None

    def _dpmpp(self, order: int) -> tuple[str, dict[str, Any], bool]:
        solver_type = "heun" if self.solver_type == "heun" else "midpoint"
        if self.algorithm_type.startswith("sde"):
            exact = self.algorithm_type == "sde-dpmsolver++" and order < 3
            return "dpmpp-2m-sde", {"order": min(order, 2), "solver_type": solver_type}, exact
        # A step to clean data is Euler's in any case.
        euler_at_final = self.euler_at_final and self.final_sigmas_type != "zero"
        if (order, solver_type, self.algorithm_type, euler_at_final) == (2, "midpoint", "dpmsolver++", False):
            return "dpmpp-2m", {}, True
        arguments = {"order": order, "solver_type": solver_type, "algorithm": self.algorithm_type}
        return "dpmpp-3m", arguments, True


@lru_cache(maxsize=8)
def _sigmas(config: SchedulerConfig) -> np.ndarray:
    alphas_bar = config.alphas_bar()
    alphas_bar[alphas_bar == 0] = SMALLEST_ALPHA_BAR
    return ((1 - alphas_bar) / alphas_bar).sqrt().numpy()
