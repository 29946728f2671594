"""The samplers: one function per published algorithm, and a table of them.

A sampler yields (x after the step, its x_0 prediction) at each step; the last x is the sample. To add one,
write a function in the form of :mod:`zoo_ddpm.samplers.sigma`, and give it a row here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from zoo_core import OptionError
from zoo_ddpm.prediction import Predictor
from zoo_ddpm.samplers.adaptive import dpm_adaptive
from zoo_ddpm.samplers.brownian import BrownianNoise
from zoo_ddpm.samplers.consistency import consistency
from zoo_ddpm.samplers.ddpm import Normal, ddim, ddpm, log_variance
from zoo_ddpm.samplers.dpm2 import dpm2, dpm2_ancestral
from zoo_ddpm.samplers.dpmpp import dpmpp_2m, dpmpp_2m_sde, dpmpp_2s_ancestral, dpmpp_3m, dpmpp_sde
from zoo_ddpm.samplers.euler import euler, euler_ancestral, heun
from zoo_ddpm.samplers.lcm import lcm
from zoo_ddpm.samplers.multistep import ipndm, lms, pndm
from zoo_ddpm.samplers.predictor_corrector import predictor_corrector
from zoo_ddpm.samplers.sigma import Denoiser, NoiseSource, Trajectory, in_sigma
from zoo_ddpm.samplers.unipc import unipc
from zoo_ddpm.timesteps import SamplerStep

__all__ = [
    "SAMPLERS", "BrownianNoise", "Denoiser", "NoiseSource", "Normal", "OwnSampler", "Sampler", "Trajectory",
    "consistency", "ddim", "ddpm", "dpm2", "dpm2_ancestral", "dpm_adaptive", "dpmpp_2m", "dpmpp_2m_sde",
    "dpmpp_2s_ancestral", "dpmpp_3m", "dpmpp_sde", "euler", "euler_ancestral", "heun", "in_sigma",
    "ipndm", "lcm", "lms", "log_variance", "pndm", "predictor_corrector", "unipc",
]  # fmt: skip


@dataclass(frozen=True)
class Sampler:
    """A row of the table: a sampler, and what it was published with."""

    function: Callable[..., Trajectory]
    """Its function."""
    in_sigma: bool = True
    """It walks σ (see :mod:`zoo_ddpm.samplers.sigma`); else ᾱ, as :func:`ddpm` does."""
    steps: int | None = 25
    """Default number of steps; None: every timestep."""
    spacing: str = "linspace"
    """Default spacing."""
    layout: str = "fractional"
    """Which timesteps: ``fractional`` ones, ``whole`` ones, ``beyond-last`` (n + 1 whole ones without the
    last, which is the end of the last step), ``distilled``, or only the two ``ends``."""
    end: str = "final_sigmas_type"
    """The scheduler option that says where the last step ends; ``clean``: in clean data in any case."""
    options: Mapping[str, tuple[Any, ...] | None] = field(default_factory=dict)
    """Options that a user may give, with their values; None: any number."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """Arguments that a field of the scheduler config decides."""
    takes_gradient: bool = False
    """It moves its mean by a classifier's gradient itself."""
    brownian: bool = False
    """Its noise is of a Brownian path."""
    alone: bool = False
    """It chooses its steps by what it sees, and so takes one sample at a time and no number of steps."""

    @property
    def run(self) -> Callable[..., Trajectory]:
        """The sampler for x_t and ᾱ, whatever it walks."""
        return in_sigma(self.function) if self.in_sigma else self.function


_MIDPOINT = ("midpoint", "heun")
_LOWER = {"lower_order_final": "lower_order_final"}
_FINAL = {**_LOWER, "euler_at_final": "euler_at_final"}

SAMPLERS: Mapping[str, Sampler] = {
    "ddpm": Sampler(
        ddpm, in_sigma=False, steps=None, spacing="leading", layout="whole", end="clean",
        settings={"variance": "variance_type"}, takes_gradient=True,
    ),
    "ddim": Sampler(
        ddim, in_sigma=False, steps=50, spacing="leading", layout="whole", end="set_alpha_to_one",
        options={"eta": None},
    ),
    "euler": Sampler(euler, options={"churn": None}),
    "euler-ancestral": Sampler(euler_ancestral, options={"eta": None}),
    "heun": Sampler(heun, steps=20, options={"churn": None}),
    "dpm2": Sampler(dpm2, steps=20),
    "dpm2-ancestral": Sampler(dpm2_ancestral, steps=20, options={"eta": None}),
    "lms": Sampler(lms, options={"order": (1, 2, 3, 4)}),
    "ipndm": Sampler(ipndm, options={"order": (1, 2, 3, 4)}),
    "pndm": Sampler(pndm, steps=50, spacing="leading", layout="whole", end="set_alpha_to_one"),
    "dpmpp-2m": Sampler(
        dpmpp_2m, in_sigma=False, steps=20, layout="beyond-last", settings=_LOWER
    ),
    "dpmpp-3m": Sampler(
        dpmpp_3m, steps=20, layout="beyond-last", settings=_FINAL,
        options={"order": (1, 2, 3), "solver_type": _MIDPOINT},
    ),
    "dpmpp-2m-sde": Sampler(
        dpmpp_2m_sde, layout="beyond-last", settings=_FINAL,
        options={"eta": None, "order": (1, 2), "solver_type": _MIDPOINT}, brownian=True,
    ),
    "dpmpp-2s-ancestral": Sampler(dpmpp_2s_ancestral, steps=20, options={"eta": None}),
    "dpmpp-sde": Sampler(dpmpp_sde, steps=20, options={"eta": None}, brownian=True),
    "unipc": Sampler(
        unipc, steps=20, layout="beyond-last", settings=_LOWER,
        options={"order": (1, 2, 3), "solver_type": ("bh2", "bh1")},
    ),
    "dpm-adaptive": Sampler(dpm_adaptive, steps=2, layout="ends", options={"tolerance": None}, alone=True),
    "lcm": Sampler(lcm, in_sigma=False, steps=4, spacing="trailing", layout="distilled", end="clean",
        settings={"timestep_scaling": "timestep_scaling"}),
    "consistency": Sampler(
        consistency, steps=2, layout="distilled", end="clean", settings={"lowest": "sigma_min"}
    ),
    "predictor-corrector": Sampler(predictor_corrector, steps=None, spacing="exponential"),
}  # fmt: skip
"""The samplers by name."""

OwnSampler = Callable[[Predictor, Tensor, Sequence[SamplerStep], Normal], Trajectory]
"""A sampler that a user gives: a function as :func:`ddpm` is, without further options."""


def own_sampler(function: OwnSampler) -> Sampler:
    """Return the row of a user's sampler, which takes 50 timesteps unless told, and ends in clean data."""

    def run(predict: Predictor, x: Tensor, steps: Sequence[SamplerStep], normal: Normal) -> Trajectory:
        count = 0
        for x_s, x_0 in function(predict, x, steps, normal):
            count += 1
            if x_s.shape != x.shape or x_0.shape != x.shape:
                raise OptionError(
                    f"The sampler yielded shapes {tuple(x_s.shape)} and {tuple(x_0.shape)} for x of shape "
                    f"{tuple(x.shape)}.",
                    "Yield x after the step, and its prediction of x_0.",
                )
            yield x_s, x_0
        if count != len(steps):
            raise OptionError(
                f"The sampler yielded {count} times in {len(steps)} steps.", "Yield once a step."
            )

    return Sampler(run, in_sigma=False, steps=50, spacing="leading", layout="whole", end="clean")
