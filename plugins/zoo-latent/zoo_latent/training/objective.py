"""What a denoiser learns: the velocity of a rectified flow, or the noise, v or x_0 of a diffusion process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor
from zoo_ddpm.sampling import FlowConfig, Schedule, SchedulerConfig, target

Network = Callable[[Tensor, Tensor], Tensor]
"""Maps noisy latents (n, c, h, w) and times (n,) to a prediction of the latents' shape."""


class Objective(Protocol):
    """A loss, and the schedule with which a network trained by it is sampled."""

    @property
    def schedule(self) -> Schedule:
        """What the network was trained with, for the samplers."""
        ...

    def loss(self, network: Network, x_0: Tensor, random: torch.Generator) -> Tensor:
        """Return the mean squared error of the network at random times, for latents x_0 (n, c, h, w)."""
        ...


@dataclass(frozen=True)
class RectifiedFlow:
    """The velocity ε − x_0 at x_σ = (1 − σ) x_0 + σ ε.

    σ is the logistic function of a standard normal, which prefers the middle, where the velocity is the
    hardest to tell (Esser et al. 2024, arXiv:2403.03206, section 3.1). It is shifted as in sampling
    (section 5.3.2).
    """

    schedule: FlowConfig = field(default_factory=FlowConfig)

    def loss(self, network: Network, x_0: Tensor, random: torch.Generator) -> Tensor:
        """Return the mean squared error of the velocity."""
        sigma = self.schedule.shifted(torch.randn(len(x_0), generator=random, device=x_0.device).sigmoid())
        epsilon = torch.randn(x_0.shape, generator=random, device=x_0.device)
        level = sigma.view(-1, 1, 1, 1)
        predicted = network((1 - level) * x_0 + level * epsilon, sigma * self.schedule.num_train_timesteps)
        return (predicted - (epsilon - x_0)).square().mean()


@dataclass(frozen=True)
class Diffusion:
    """What the schedule says, ε or v or x_0, at x_t = √ᾱ x_0 + √(1 − ᾱ) ε, t uniform.

    Ho et al. 2020 (arXiv:2006.11239), Algorithm 1; Salimans & Ho 2022 (arXiv:2202.00512), section 4.
    """

    schedule: SchedulerConfig

    def loss(self, network: Network, x_0: Tensor, random: torch.Generator) -> Tensor:
        """Return the mean squared error of what is predicted."""
        signal, noise, times = (table.to(x_0.device) for table in self.schedule.training_levels())
        t = torch.randint(len(times), (len(x_0),), generator=random, device=x_0.device)
        epsilon = torch.randn(x_0.shape, generator=random, device=x_0.device)
        signal, noise = signal[t].view(-1, 1, 1, 1), noise[t].view(-1, 1, 1, 1)
        goal = target(self.schedule.prediction_type, x_0, epsilon, signal, noise)
        return (network(signal * x_0 + noise * epsilon, times[t]) - goal).square().mean()


def objective_of(schedule: Schedule) -> Objective:
    """Return the objective of a network that is sampled by this schedule."""
    return RectifiedFlow(schedule) if isinstance(schedule, FlowConfig) else Diffusion(schedule)


EPSILON = SchedulerConfig(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", sampler="ddim",
    timestep_spacing="trailing", clip_sample=False,
)  # fmt: skip
OBJECTIVES: Mapping[str, Objective] = {"flow": RectifiedFlow(), "epsilon": Diffusion(EPSILON)}
