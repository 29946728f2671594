"""Spacings of noise levels: n values of σ from the highest to the lowest, both included.

They do not depend on the timesteps the network was trained at; :meth:`SchedulerConfig.time_of` finds the
timestep of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np


def karras(n: int, low: float, high: float, rho: float = 7.0) -> list[float]:
    """Evenly spaced in σ^(1/ρ) (Karras et al. 2022, arXiv:2206.00364, eq. 5)."""
    return _floats(np.linspace(high ** (1 / rho), low ** (1 / rho), n) ** rho)


def exponential(n: int, low: float, high: float) -> list[float]:
    """Evenly spaced in log σ."""
    return polyexponential(n, low, high, rho=1.0)


def polyexponential(n: int, low: float, high: float, rho: float = 2.0) -> list[float]:
    """Evenly spaced in (log σ)^(1/ρ), counted from the lowest (k-diffusion): denser at low noise."""
    return _floats(np.exp(np.linspace(1, 0, n) ** rho * np.log(high / low) + np.log(low)))


def beta(n: int, low: float, high: float, shape: float = 0.6) -> list[float]:
    """Quantiles of a beta distribution: denser at both ends (Lee et al. 2024, arXiv:2407.12173)."""
    from scipy.stats import beta as distribution  # type: ignore[import-untyped]

    quantiles = distribution.ppf(np.linspace(1, 0, n), shape, shape)
    return _floats(low + quantiles * (high - low))


SIGMA_SPACINGS: Mapping[str, Callable[..., list[float]]] = {
    "karras": karras,
    "exponential": exponential,
    "polyexponential": polyexponential,
    "beta": beta,
}
"""Spacings of noise levels by name: (n, lowest, highest) to n values, descending."""


def _floats(values: np.ndarray) -> list[float]:
    return [float(value) for value in values]
