"""Scaling laws: the loss as a function of the number of parameters N and of training tokens D.

Hoffmann et al. 2022, "Training Compute-Optimal Large Language Models", arXiv:2203.15556, section 3.3.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

EXPONENTS = np.geomspace(0.05, 2, 32)
"""Values of α and β that are tried."""
MIN_VALUES = 3
"""Values of N, or of D, from which its exponent can be told."""


@dataclass(frozen=True)
class ScalingLaw:
    """L(N, D) = E + A/N^α + B/D^β, in nats per token; A or B is 0 where N or D did not vary."""

    e: float
    a: float
    alpha: float
    b: float
    beta: float
    error: float
    """Root mean square of the relative error of the fitted losses."""

    def __call__(self, parameters: float, tokens: float) -> float:
        """Return the loss that the law predicts."""
        return float(self.e + self.a / parameters**self.alpha + self.b / tokens**self.beta)

    def __str__(self) -> str:
        terms = [f"{self.e:.3g}"]
        if self.a:
            terms.append(f"{self.a:.3g}/N^{self.alpha:.2f}")
        if self.b:
            terms.append(f"{self.b:.3g}/D^{self.beta:.2f}")
        return "L(N, D) = " + " + ".join(terms)


def fit_scaling_law(
    parameters: Sequence[int], tokens: Sequence[int], losses: Sequence[float]
) -> ScalingLaw | None:
    """Fit the law by least squares of the relative error, with E, A and B at least 0.

    For each pair of exponents of a grid the other three are a linear problem. A quantity with fewer than
    ``MIN_VALUES`` values has no term of its own; if neither has more, there is no law: None.
    """
    n, d, loss = (np.asarray(values, dtype=np.float64) for values in (parameters, tokens, losses))
    alphas, betas = (
        EXPONENTS if len(set(values.tolist())) >= MIN_VALUES else np.zeros(1) for values in (n, d)
    )
    if len(alphas) == len(betas) == 1:
        return None
    best = ScalingLaw(0, 0, 0, 0, 0, np.inf)
    for alpha, beta in itertools.product(alphas, betas):
        terms = np.stack([np.ones_like(n), n**-alpha * bool(alpha), d**-beta * bool(beta)], 1)
        (e, a, b), error = _nonnegative_least_squares(terms / loss[:, None])
        if error < best.error:
            best = ScalingLaw(float(e), float(a), float(alpha), float(b), float(beta), float(error))
    return best


def _nonnegative_least_squares(terms: np.ndarray) -> tuple[np.ndarray, float]:
    """Return x ≥ 0 that brings terms (n, 3) @ x nearest to ones, and the root mean square of what is left."""
    best, least = np.zeros(3), np.inf
    for used in itertools.product((False, True), repeat=3):
        columns = [i for i, is_used in enumerate(used) if is_used and terms[:, i].any()]
        if not columns:
            continue
        x = np.zeros(3)
        x[columns] = np.linalg.lstsq(terms[:, columns], np.ones(len(terms)), rcond=None)[0]
        error = float(np.sqrt(np.square(terms @ x - 1).mean()))
        if (x >= 0).all() and error < least:
            best, least = x, error
    return best, least
