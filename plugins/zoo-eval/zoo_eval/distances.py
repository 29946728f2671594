"""Fréchet distance of two sets of features, its limit for infinitely many samples, and their intervals.

Heusel et al. 2017, arXiv:1706.08500, equation 6; Chong & Forsyth 2020, "Effectively Unbiased FID",
arXiv:1911.07023.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch import Tensor

from zoo_eval.bootstrap import Figure, mean_figure
from zoo_eval.features import Rows, blocks

TOLERANCE = 1e-10
"""Eigenvalues below this share of the largest count as zero."""


@dataclass(frozen=True)
class Moments:
    """Number, mean (d,) and sum of squared deviations (d, d) of samples, in float64."""

    count: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, rows: Rows) -> Self:
        """Return the moments of features (n, d), block by block."""
        total: Self | None = None
        for _, block in blocks(rows):
            x = block.double()
            mean = x.mean(0)
            found = cls(len(x), mean, (x - mean).T @ (x - mean))
            total = found if total is None else total.with_more(found)
        assert total is not None, "there are rows"
        return total

    def with_more(self, other: Self) -> Self:
        """Return the moments of both sets together (Chan et al. 1979)."""
        count, difference = self.count + other.count, other.mean - self.mean
        mean = self.mean + difference * (other.count / count)
        between = torch.outer(difference, difference) * (self.count * other.count / count)
        return type(self)(count, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Tensor:
        """The unbiased covariance (d, d)."""
        return self.scatter / max(1, self.count - 1)

    @cached_property
    def root(self) -> Tensor:
        """The symmetric square root (d, d) of the covariance."""
        values, vectors = torch.linalg.eigh(self.covariance)
        found: Tensor = vectors * values.clamp(min=0).sqrt() @ vectors.T
        return found


def frechet_distance(a: Moments, b: Moments) -> float:
    """Return |μ_a − μ_b|² + tr(Σ_a + Σ_b − 2 (Σ_a Σ_b)^½), which is never below 0."""
    # Σ_b Σ_a and Σ_b^½ Σ_a Σ_b^½ have the same eigenvalues, and the latter is symmetric.
    cross = torch.linalg.eigvalsh(b.root @ a.covariance @ b.root).clamp(min=0).sqrt().sum()
    squares = (a.mean - b.mean).square().sum()
    return max(0.0, float(squares + a.covariance.trace() + b.covariance.trace() - 2 * cross))


def frechet_figures(rows: Rows, data: Moments) -> tuple[Figure, Figure]:
    """Return the Fréchet distance of features (n, d) to data and its limit for n → ∞, with intervals.

    The bias of the distance of n samples is close to c / n. The mean distance of the two halves gives a
    second point of that line, and the limit is 2 F(n) − F(n / 2). Samples are resampled; the data are fixed.
    The interval, the same for both, is that of the distance's first-order change with each sample: a
    bootstrap of the distance itself would be as biased as the distance. Near 0 that change vanishes, and the
    distance varies by about its bias, to which the interval then reaches.
    """
    middle = len(rows) // 2
    halves = [Moments.of(_Part(rows, 0, middle)), Moments.of(_Part(rows, middle, len(rows)))]
    whole = halves[0].with_more(halves[1])
    value = frechet_distance(whole, data)
    half = sum(frechet_distance(each, data) for each in halves) / 2
    changes = first_order_changes(rows, whole, data)
    bias = max(0.0, half - value)
    figures = mean_figure(changes, value), mean_figure(changes, 2 * value - half)
    if value > bias / 2:
        return figures
    return figures[0].up_to(value + bias), figures[1].up_to(value)


def first_order_changes(rows: Rows, own: Moments, data: Moments) -> Tensor:
    """Return the derivative of the distance by the weight of each sample, (n,) float64, centred.

    With the optimal transport map T = Σ_d^½ (Σ_d^½ Σ Σ_d^½)^−½ Σ_d^½ the distance's differential is
    2 (μ − μ_d)·dμ + tr((1 − T) dΣ).
    """
    values, vectors = torch.linalg.eigh(data.root @ own.covariance @ data.root)
    kept = values > values.max() * TOLERANCE
    inverse = torch.where(kept, values.clamp(min=1e-300).rsqrt(), 0.0)
    pushed = data.root @ vectors
    slope = torch.eye(len(pushed)).double() - (pushed * inverse) @ pushed.T
    changes = []
    for _, block in blocks(rows):
        x = block.double() - own.mean
        changes.append(2 * x @ (own.mean - data.mean) + ((x @ slope) * x).sum(1))
    found = torch.cat(changes)
    return found - found.mean()


class _Part:
    """Rows ``start`` to ``stop`` of a matrix."""

    def __init__(self, rows: Rows, start: int, stop: int) -> None:
        self._rows, self._start, self._count = rows, start, stop - start

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, rows: slice) -> Tensor:
        start, stop, _ = rows.indices(self._count)
        return self._rows[self._start + start : self._start + stop]
