"""Rectified flow: x_σ = (1 − σ) x_0 + σ ε for σ from 0 to 1; a network predicts the velocity v = ε − x_0.

Liu et al. 2022 (arXiv:2209.03003); Esser et al. 2024, "Scaling Rectified Flow Transformers for
High-Resolution Image Synthesis" (arXiv:2403.03206). Divided by √(σ² + (1 − σ)²) it is the x_t of the
variance-preserving process, √ᾱ in proportion to 1 − σ. So every sampler runs it; Euler's step along v is
DDIM's.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, TypeVar

import numpy as np
import torch
from torch import Tensor

from zoo_core import Between, read_config
from zoo_ddpm.preconditioning import Network
from zoo_ddpm.prediction import Prediction, Predictor
from zoo_ddpm.timesteps import SamplerStep

LevelT = TypeVar("LevelT", float, Tensor)

SCHEDULER = "FlowMatchEulerDiscreteScheduler"
"""diffusers' scheduler of such a model."""
SMALLEST_SIGNAL = 2.0**-12
"""Stands for 1 − σ = 0 where a noise level would be infinite."""
WITHOUT_EFFECT = frozenset(
    {"base_image_seq_len", "base_shift", "max_image_seq_len", "max_shift", "time_shift_type"}
)
"""Options that act only with ``use_dynamic_shifting``."""


@dataclass(frozen=True)
class FlowConfig:
    """A flow and how it is meant to be sampled: the options of its ``scheduler_config.json``."""

    num_train_timesteps: Annotated[int, Between(1, 100_000)] = 1000
    """T: the network is told T σ."""
    shift: Annotated[float, Between(1e-3, 1e3)] = 1.0
    """Above 1, steps are spent at high noise, as larger images need (Esser et al., section 5.3.2)."""
    use_dynamic_shifting: Literal[False] = False
    invert_sigmas: Literal[False] = False
    use_karras_sigmas: Literal[False] = False
    use_exponential_sigmas: Literal[False] = False
    use_beta_sigmas: Literal[False] = False
    stochastic_sampling: Literal[False] = False
    shift_terminal: None = None

    prediction_type: ClassVar[str] = "velocity"
    preconditioning: ClassVar[str | None] = "flow"
    is_distilled: ClassVar[bool] = False
    replaced: ClassVar[str | None] = None
    sampler: ClassVar[str] = "ddim"
    solver: ClassVar[Mapping[str, Any]] = {}
    variance_type: ClassVar[str] = "fixed_small"
    lower_order_final: ClassVar[bool] = True
    euler_at_final: ClassVar[bool] = False

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str = "scheduler_config.json") -> FlowConfig:
        """Read a parsed ``scheduler_config.json``; WeightsError names an option that is not implemented."""
        given = {key: value for key, value in config.items() if value is not None and key[:1] != "_"}
        return read_config(cls, given, source, ignore=WITHOUT_EFFECT)

    def to_json(self) -> dict[str, Any]:
        """Return a ``scheduler_config.json`` that diffusers reads back."""
        return {
            "_class_name": SCHEDULER,
            "num_train_timesteps": self.num_train_timesteps,
            "shift": self.shift,
        }

    def training_levels(self) -> tuple[Tensor, Tensor, Tensor]:
        """Return the weights of x_0 and of ε in x_σ, and the network's times, at σ = 1/T … 1: each (T,)."""
        times = torch.arange(1, self.num_train_timesteps + 1)
        sigmas = times / self.num_train_timesteps
        return 1 - sigmas, sigmas, times

    def alphas_bar(self) -> Tensor:
        """ᾱ of the same levels, float64, descending."""
        signal, noise, _ = (table.double() for table in self.training_levels())
        return signal**2 / (signal**2 + noise**2)

    def network_time(self, t: float) -> float:
        """Return what the network is given for timestep t."""
        return t

    def shifted(self, sigma: LevelT) -> LevelT:
        """Return the noise level in place of an evenly spaced one (Esser et al., eq. 23)."""
        return self.shift * sigma / (1 + (self.shift - 1) * sigma)

    def levels(self, steps: int) -> list[float]:
        """Return the σ at which ``steps`` steps begin, from 1 down, as diffusers lays them out."""
        low = self.shifted(1 / self.num_train_timesteps)
        return [self.shifted(float(sigma)) for sigma in np.linspace(1, low, steps)]

    def steps(self, count: int) -> list[SamplerStep]:
        """Return ``count`` steps; the last leads to clean data."""
        sigmas = self.levels(count)
        here = [_alpha_bar(sigma) for sigma in sigmas]
        times = [self.num_train_timesteps * sigma for sigma in sigmas]
        return [SamplerStep(*step) for step in zip(times, here, [*here[1:], 1.0], strict=True)]

    def sigma_range(self) -> tuple[float, float]:
        """Return the lowest and the highest σ / (1 − σ)."""
        low = self.shifted(self.shifted(1 / self.num_train_timesteps))
        return low / (1 - low), 1 / SMALLEST_SIGNAL

    def time_of(self, sigma: float) -> float:
        """Return the timestep of a noise level σ / (1 − σ)."""
        return self.num_train_timesteps * sigma / (1 + sigma)


def _alpha_bar(sigma: float) -> float:
    return (1 - sigma) ** 2 / ((1 - sigma) ** 2 + sigma**2)


def flow_predictor(network: Network, config: FlowConfig) -> Predictor:
    """Return a function that turns the velocity that a network returns into predictions."""

    def predict(x_t: Tensor, step: SamplerStep) -> Prediction:
        sigma = step.t / config.num_train_timesteps
        x = x_t * math.hypot(sigma, 1 - sigma)
        v = network(x, step.t)
        return Prediction(x - sigma * v, x + (1 - sigma) * v, None)

    return predict
