"""UniPC (Zhao et al. 2023, arXiv:2302.04867): a multistep predictor, corrected by the next prediction."""

from __future__ import annotations

import math
from collections.abc import Container, Sequence
from itertools import pairwise

import numpy as np
from torch import Tensor

from zoo_ddpm.samplers.sigma import Denoiser, NoiseSource, Trajectory, log_snr

Located = tuple[float, Tensor]
"""(λ, what the network predicted there)."""


def unipc(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    order: int = 2,
    solver_type: str = "bh2",
    predict_x0: bool = True,
    lower_order_final: bool = True,
    disable_corrector: Container[int] = (),
) -> Trajectory:
    """UniP-p and UniC-p: Algorithms 5 to 8 of the paper.

    Args:
        denoise: The denoiser, called once a step: what corrects a state also predicts the next.
        x: x_0 + σ ε at the first noise level.
        sigmas: The noise levels.
        noise: Not used.
        order: p, 1 to 3.
        solver_type: ``bh1`` or ``bh2``: B(h) = h or e^h − 1.
        predict_x0: Integrate x_0; else ε.
        lower_order_final: Go down to order 1 over the last steps.
        disable_corrector: Steps after which the state is not corrected.
    """
    n, latest, p, before = len(sigmas) - 1, list[Located](), 0, x
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x_0 = denoise(x, sigma)
        m = x_0 if predict_x0 else (x - x_0) / sigma
        if i > 0 and i - 1 not in disable_corrector:
            x = unified(before, sigmas[i - 1], sigma, latest[:p], solver_type, predict_x0, m)
        latest, before = [(log_snr(sigma), m), *latest[: order - 1]], x
        final = lower_order_final or sigma_next == 0
        p = min(n - i if final else order, len(latest))
        x = unified(before, sigma, sigma_next, latest[:p], solver_type, predict_x0)
        yield x, x_0


def unified(
    x: Tensor,
    sigma: float,
    sigma_next: float,
    latest: Sequence[Located],
    solver_type: str,
    predict_x0: bool,
    at_the_end: Tensor | None = None,
) -> Tensor:
    """Predict x at ``sigma_next`` from predictions, the newest first; with the one there, correct it.

    Equations 3 and 8 of the paper. Two weights are 1/2, as in the authors' code: the one of the predictor of
    order 2 and that of the corrector of order 1.
    """
    (l_0, m_0), h = latest[0], log_snr(sigma_next) - log_snr(sigma)
    z = -h if predict_x0 else h
    phi_1 = math.expm1(z)
    B = z if solver_type == "bh1" else phi_1
    ratios = [(l_k - l_0) / h for l_k, _ in latest[1:]]
    changes = [(m_k - m_0) / r for r, (_, m_k) in zip(ratios, latest[1:], strict=True)]
    if at_the_end is not None:
        ratios, changes = [*ratios, 1.0], [*changes, at_the_end - m_0]
    x = sigma_next / sigma * x - phi_1 * m_0 if predict_x0 else x - sigma_next * phi_1 * m_0
    if not changes:
        return x
    halved = len(changes) == 1
    weights = [0.5] if halved else np.linalg.solve(*_conditions(ratios, z, B)).tolist()
    change = sum((w * d for w, d in zip(weights[1:], changes[1:], strict=True)), weights[0] * changes[0])
    return x - (1.0 if predict_x0 else sigma_next) * B * change


def _conditions(ratios: Sequence[float], z: float, B: float) -> tuple[np.ndarray, np.ndarray]:
    """Return R and b of the order conditions R ρ = b (Theorem 3.1)."""
    b, phi, factorial = [], math.expm1(z) / z - 1, 1
    for k in range(1, len(ratios) + 1):
        b.append(phi * factorial / B)
        factorial *= k + 1
        phi = phi / z - 1 / factorial
    return np.vander(ratios, increasing=True).T, np.array(b)
