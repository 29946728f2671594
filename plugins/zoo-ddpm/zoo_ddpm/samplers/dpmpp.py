"""DPM-Solver++ (Lu et al. 2022, arXiv:2211.01095): exponential integrators of x_0 in λ = −log σ."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

from torch import Tensor

from zoo_ddpm.prediction import Predictor
from zoo_ddpm.samplers.ddpm import Normal
from zoo_ddpm.samplers.sigma import Denoiser, NoiseSource, Trajectory, ancestral_sigmas, log_snr
from zoo_ddpm.timesteps import SamplerStep


def dpmpp_2m(
    predict: Predictor,
    x: Tensor,
    steps: Sequence[SamplerStep],
    normal: Normal,
    lower_order_final: bool = True,
) -> Iterator[tuple[Tensor, Tensor]]:
    """DPM-Solver++(2M): Algorithm 2 of Lu et al. 2022 (arXiv:2211.01095).

    Args:
        predict: The wrapped network.
        x: x_T, standard normal.
        steps: From :func:`zoo_ddpm.sampling.sampler_steps`.
        normal: Not used: the solver draws no noise.
        lower_order_final: Use first order in the last step if there are fewer than 15 (the authors' code).
    """
    h_last, x_0_last = 0.0, x
    for i, step in enumerate(steps):
        x_0 = predict(x, step).x_0
        h = half_log_snr(step.alpha_bar_prev) - half_log_snr(step.alpha_bar)
        # A step to clean data has h = ∞, where only the first order has a limit.
        final = i == len(steps) - 1 and (math.isinf(h) or (lower_order_final and len(steps) < 15))
        if i == 0 or final:
            D = x_0
        else:
            r = h_last / h
            D = (1 + 1 / (2 * r)) * x_0 - 1 / (2 * r) * x_0_last
        shrink = math.sqrt((1 - step.alpha_bar_prev) / (1 - step.alpha_bar))
        x = shrink * x - math.sqrt(step.alpha_bar_prev) * math.expm1(-h) * D
        h_last, x_0_last = h, x_0
        yield x, x_0


def half_log_snr(alpha_bar: float) -> float:
    """Return λ = log(√ᾱ / √(1 − ᾱ)); −∞ for pure noise, ∞ for clean data."""
    if alpha_bar == 0:
        return -math.inf
    return 0.5 * (math.log(alpha_bar) - math.log1p(-alpha_bar)) if alpha_bar < 1 else math.inf


def dpmpp_3m(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    order: int = 3,
    solver_type: str = "midpoint",
    algorithm: str = "dpmsolver++",
    lower_order_final: bool = True,
    euler_at_final: bool = False,
) -> Trajectory:
    """The multistep solvers of order 1 to 3, as the authors' code and diffusers have them.

    Args:
        denoise: The denoiser.
        x: x_0 + σ ε at the first noise level.
        sigmas: The noise levels.
        noise: Not used.
        order: 1 to 3. (With three predictions, the published weights of the curvature are half of those of
            Taylor's series: the error shrinks as with order 2.)
        solver_type: ``midpoint`` or ``heun``: how order 2 uses the slope of x_0.
        algorithm: ``dpmsolver++`` integrates x_0, ``dpmsolver`` integrates ε.
        lower_order_final: Go down to order 1 over the last two steps if there are fewer than 15.
        euler_at_final: Take the last step with order 1 however many there are.
    """
    n, latest = len(sigmas) - 1, list[Located]()
    of_data = algorithm == "dpmsolver++"
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x_0 = denoise(x, sigma)
        latest = [(log_snr(sigma), x_0 if of_data else (x - x_0) / sigma), *latest[: order - 1]]
        h = log_snr(sigma_next) - log_snr(sigma)
        few = lower_order_final and n < 15
        final = i == n - 1 and (few or euler_at_final or sigma_next == 0)
        D = differences(latest[: n - i] if few or final else latest, h)
        z = -h if of_data else h
        phi_1 = math.expm1(z)
        change = phi_1 * D[0]
        if len(D) == 2 and solver_type == "midpoint":
            change = change + 0.5 * phi_1 * D[1]
        elif len(D) > 1:
            change = change + (phi_1 / z - 1) * D[1]
        if len(D) > 2:
            change = change + ((phi_1 - z) / z**2 - 0.5) * D[2]
        x = sigma_next / sigma * x - change if of_data else x - sigma_next * change
        yield x, x_0


def dpmpp_2m_sde(
    denoise: Denoiser,
    x: Tensor,
    sigmas: Sequence[float],
    noise: NoiseSource,
    eta: float = 1.0,
    order: int = 2,
    solver_type: str = "midpoint",
    lower_order_final: bool = False,
    euler_at_final: bool = False,
) -> Trajectory:
    """SDE-DPM-Solver++(2M): the stochastic equation, with noise times ``eta`` (Lu et al. 2022, section 5)."""
    n, latest = len(sigmas) - 1, list[Located]()
    for i, (sigma, sigma_next) in enumerate(pairwise(sigmas)):
        x_0 = denoise(x, sigma)
        latest = [(log_snr(sigma), x_0), *latest[: order - 1]]
        h = log_snr(sigma_next) - log_snr(sigma)
        few = lower_order_final and n < 15
        final = i == n - 1 and (few or euler_at_final or sigma_next == 0)
        D = differences(latest[:1] if final else latest, h)
        z = -h * (1 + eta)
        phi_1 = math.expm1(z)
        change = phi_1 * D[0]
        if len(D) > 1:
            change = change + (0.5 * phi_1 if solver_type == "midpoint" else phi_1 / z - 1) * D[1]
        x = sigma_next / sigma * (math.exp(-eta * h) if eta else 1.0) * x - change
        if eta > 0 and sigma_next > 0:
            x = x + sigma_next * math.sqrt(-math.expm1(-2 * eta * h)) * noise(sigma, sigma_next)
        yield x, x_0


def dpmpp_2s_ancestral(
    denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, eta: float = 1.0
) -> Trajectory:
    """DPM-Solver++(2S), Algorithm 1 of Lu et al. 2022 with r = 1/2, and ancestral noise (k-diffusion)."""
    for sigma, sigma_next in pairwise(sigmas):
        x_0 = used = denoise(x, sigma)
        down, up = ancestral_sigmas(sigma, sigma_next, eta)
        if down > 0:
            middle = math.sqrt(sigma * down)
            used = denoise(towards(x_0, x, sigma, middle), middle)
        x = towards(used, x, sigma, down)
        if up > 0:
            x = x + up * noise(sigma, sigma_next)
        yield x, x_0


def dpmpp_sde(
    denoise: Denoiser, x: Tensor, sigmas: Sequence[float], noise: NoiseSource, eta: float = 1.0
) -> Trajectory:
    """DPM-Solver++ for the stochastic equation, two network calls a step, r = 1/2 (k-diffusion)."""
    for sigma, sigma_next in pairwise(sigmas):
        x_0 = used = denoise(x, sigma)
        if sigma_next > 0:
            middle = math.sqrt(sigma * sigma_next)
            down, up = ancestral_sigmas(sigma, middle, eta)
            x_middle = towards(x_0, x, sigma, down)
            used = denoise(x_middle + up * noise(sigma, middle) if up > 0 else x_middle, middle)
        down, up = ancestral_sigmas(sigma, sigma_next, eta)
        x = towards(used, x, sigma, down)
        if up > 0:
            x = x + up * noise(sigma, sigma_next)
        yield x, x_0


Located = tuple[float, Tensor]
"""(λ, what the network predicted there)."""


def differences(latest: Sequence[Located], h: float) -> list[Tensor]:
    """Return the prediction and its first and second derivative by λ, times h and h²/2, the newest first.

    Divided differences of one to three predictions, as many as are returned.
    """
    if len(latest) == 1:
        return [latest[0][1]]
    (l_0, m_0), (l_1, m_1) = latest[:2]
    r_0 = (l_0 - l_1) / h
    D1 = (m_0 - m_1) / r_0
    if len(latest) == 2:
        return [m_0, D1]
    l_2, m_2 = latest[2]
    r_1 = (l_1 - l_2) / h
    D2 = (D1 - (m_1 - m_2) / r_1) / (r_0 + r_1)
    return [m_0, D1 + r_0 * D2, D2]


def towards(x_0: Tensor, x: Tensor, sigma: float, sigma_next: float) -> Tensor:
    """Go from σ to σ_next as if x_0 were known: on the straight line from x to x_0."""
    return x_0 + sigma_next / sigma * (x - x_0)
