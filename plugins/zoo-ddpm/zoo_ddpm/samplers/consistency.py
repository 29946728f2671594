"""The sampler of consistency models, whose network goes from any noise level to x_0 at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from torch import Tensor

from zoo_ddpm.samplers.sigma import Denoiser, NoiseSource, Trajectory


def consistency(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    lowest: float | None = None,
    s_noise: float = 1.0,
) -> Trajectory:
    """Predict x_0, add new noise, repeat (Song et al. 2023, arXiv:2303.01469, Algorithm 1).

    Args:
        denoise: Predicts x_0.
        x: At the first level.
        sigmas: The levels; the last is 0.
        noise: Drawn at each step but the last.
        lowest: The level at which the network returns its input: the noise that x_0 counts as having.
        s_noise: The noise is multiplied by it.
    """
    for sigma, sigma_next in pairwise(sigmas):
        x = x_0 = denoise(x, sigma)
        if sigma_next > 0:
            added = math.sqrt(max(sigma_next**2 - (lowest or 0.0) ** 2, 0.0))
            x = x_0 + added * s_noise * noise(sigma, sigma_next)
        yield x, x_0
