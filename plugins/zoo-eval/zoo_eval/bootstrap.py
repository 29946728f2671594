"""Confidence intervals by the Poisson bootstrap (Hanley & MacGibbon 2006).

Each sample is weighted by a Poisson number of mean 1. This approximates resampling with replacement, and
needs neither all samples at once nor their number.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

RESAMPLES = 500
LEVEL = 0.95
_BLOCK = 4096


@dataclass(frozen=True)
class Figure:
    """A value and the bounds of its 95% confidence interval."""

    value: float
    low: float
    high: float

    def up_to(self, high: float) -> Figure:
        """Return it with an upper bound of at least ``high``."""
        return Figure(self.value, self.low, max(self.high, high))

    def not_negative(self) -> Figure:
        """Return it raised to 0, with its upper half of the interval, if it is below."""
        raised = max(0.0, self.value)
        return Figure(raised, max(0.0, self.low), self.high + raised - self.value)

    def to_json(self) -> dict[str, float]:
        """Return it as plain JSON."""
        return {"value": self.value, "low": self.low, "high": self.high}


def counts(block: int, size: int, resamples: int, seed: int) -> Tensor:
    """Return the weight of each of ``size`` samples in each resample, (resamples, size) float32.

    Args:
        block: Number of the block; every block has its own random numbers.
        size: Samples in the block.
        resamples: Number of resamples.
        seed: Seed of the set. Two sets that are resampled independently need two seeds.
    """
    random = np.random.Generator(np.random.Philox(key=np.array([seed, block], np.uint64)))
    return torch.from_numpy(random.poisson(1.0, (resamples, size)).astype(np.float32))


def resampled_means(values: Tensor, resamples: int = RESAMPLES, seed: int = 0) -> Tensor:
    """Return the means (resamples,) of resamples of values (n,), float64."""
    sums, weights = torch.zeros(resamples).double(), torch.zeros(resamples).double()
    for number, start in enumerate(range(0, len(values), _BLOCK)):
        part = values[start : start + _BLOCK].double()
        times = counts(number, len(part), resamples, seed).double()
        sums += times @ part
        weights += times.sum(1)
    return sums / weights.clamp(min=1)


def mean_figure(values: Tensor, value: float | None = None, seed: int = 0) -> Figure:
    """Return the mean of values (n,) with its interval.

    If ``value`` is given, ``values`` are the first-order effects of single samples on it. The result is
    ``value`` with the interval of their mean, moved to it.
    """
    mean = float(values.double().mean())
    return around(mean if value is None else value, resampled_means(values, seed=seed) - mean)


def around(value: float, deviations: Tensor) -> Figure:
    """Return a value with the interval spanned by resampled deviations from it, (resamples,)."""
    tail = (1 - LEVEL) / 2
    low, high = torch.quantile(deviations.double(), torch.tensor([tail, 1 - tail]).double()).tolist()
    return Figure(value, value + low, value + high)
