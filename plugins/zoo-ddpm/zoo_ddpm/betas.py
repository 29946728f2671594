"""Noise schedules: the betas β_0 … β_{T−1} of the forward process.

Tables are float64: a cumulative product of a thousand factors in float32 is off by up to 4e-5, which the
noisiest steps magnify.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


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


def sigmoid(T: int, beta_start: float, beta_end: float) -> Tensor:
    """Betas on a sigmoid from −6 to 6 (Xu et al. 2022, "GeoDiff", arXiv:2203.02923), float64, shape (T,)."""
    ramp = torch.linspace(-6, 6, T, dtype=torch.float64)
    return ramp.sigmoid() * (beta_end - beta_start) + beta_start


BETA_SCHEDULES = {
    "linear": linear,
    "scaled_linear": scaled_linear,
    "squaredcos_cap_v2": cosine,
    "sigmoid": sigmoid,
}
"""Schedules by the name that diffusers has for them: (T, beta_start, beta_end) to (T,) betas."""


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
