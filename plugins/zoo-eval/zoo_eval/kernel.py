"""Kernel distance (KID): unbiased squared maximum mean discrepancy under a cubic kernel.

Bińkowski et al. 2018, "Demystifying MMD GANs", arXiv:1801.01401, section 4.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_eval.bootstrap import Figure, around, counts
from zoo_eval.features import Rows, blocks

RESAMPLES = 200
SAMPLES_SEED, DATA_SEED = 1, 2


@dataclass(frozen=True)
class Similarity:
    """The mean kernel over pairs, and over resampled pairs (resamples,)."""

    mean: float
    resampled: Tensor


def kernel(x: Tensor, y: Tensor) -> Tensor:
    """Return (x·y / d + 1)³ of all pairs, (n, m)."""
    values: Tensor = (x @ y.T / x.shape[1] + 1) ** 3
    return values


def within(rows: Rows, seed: int) -> Similarity:
    """Return the similarity of a set (n, d) with itself, without pairs of a sample with itself."""
    return _similarity(rows, rows, seed, seed)


def between(samples: Rows, data: Rows) -> Similarity:
    """Return the similarity of samples (n, d) with data (m, d)."""
    return _similarity(samples, data, SAMPLES_SEED, DATA_SEED)


def kernel_distance(samples: Rows, data: Rows, within_data: Similarity | None = None) -> Figure:
    """Return the unbiased squared MMD with its interval; both sets are resampled.

    It is computed over all pairs. The paper's mean over subsets has the same expectation.

    Args:
        samples: (n, d).
        data: (m, d).
        within_data: :func:`within` of the data with ``DATA_SEED``, if it is known.
    """
    own = within(samples, SAMPLES_SEED)
    other = within_data or within(data, DATA_SEED)
    cross = between(samples, data)
    value = own.mean + other.mean - 2 * cross.mean
    resampled = own.resampled + other.resampled - 2 * cross.resampled
    return around(value, resampled - resampled.mean())


def _similarity(a: Rows, b: Rows, seed_a: int, seed_b: int) -> Similarity:
    same = a is b
    total, sums = 0.0, torch.zeros(RESAMPLES).double()
    weight_a, weight_b, squares = (torch.zeros(RESAMPLES).double() for _ in range(3))
    for number, (start, x) in enumerate(blocks(a)):
        times_x = counts(number, len(x), RESAMPLES, seed_a)
        weight_a += times_x.double().sum(1)
        squares += times_x.double().square().sum(1)
        for other, (start_y, y) in enumerate(blocks(b)):
            times_y = counts(other, len(y), RESAMPLES, seed_b)
            if number == 0:
                weight_b += times_y.double().sum(1)
            values = kernel(x, y)
            if same and start == start_y:
                values.fill_diagonal_(0)
            total += float(values.double().sum())
            sums += ((times_x @ values).double() * times_y).sum(1)
    pairs = len(a) * (len(a) - 1) if same else len(a) * len(b)
    weights = weight_a.square() - squares if same else weight_a * weight_b
    return Similarity(total / max(1, pairs), sums / weights.clamp(min=1))
