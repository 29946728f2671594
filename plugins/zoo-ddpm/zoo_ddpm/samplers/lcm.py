"""The sampler of latent consistency models, whose network goes from any noise level to x_0 at once."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from zoo_ddpm.prediction import Predictor
from zoo_ddpm.samplers.ddpm import Normal
from zoo_ddpm.samplers.sigma import Trajectory
from zoo_ddpm.timesteps import SamplerStep

SIGMA_DATA = 0.5


def lcm(
    predict: Predictor,
    x: Tensor,
    steps: Sequence[SamplerStep],
    normal: Normal,
    timestep_scaling: float = 10.0,
) -> Trajectory:
    """Predict x_0, add new noise, repeat (Luo et al. 2023, arXiv:2310.04378, Algorithm 3).

    Args:
        predict: The wrapped network.
        x: x_T, standard normal.
        steps: From :func:`zoo_ddpm.sampling.sampler_steps`; the last leads to clean data.
        normal: Drawn at each step but the last.
        timestep_scaling: The network's x_0 counts for more the larger this times the timestep (eq. 9).
    """
    for i, step in enumerate(steps):
        s = timestep_scaling * step.t
        norm = s**2 + SIGMA_DATA**2
        x_0 = s / math.sqrt(norm) * predict(x, step).x_0 + SIGMA_DATA**2 / norm * x
        x = x_0
        if i < len(steps) - 1:
            x = math.sqrt(step.alpha_bar_prev) * x_0 + math.sqrt(1 - step.alpha_bar_prev) * normal()
        yield x, x_0
