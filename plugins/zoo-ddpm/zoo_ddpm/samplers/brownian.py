"""The noise of a Brownian path: finer steps of the same stream follow the same path."""

from __future__ import annotations

import math

from torch import Tensor

from zoo_core import Noise

DEPTH = 14
"""Halvings of the range of log σ, below which two places count as one."""


class BrownianNoise:
    """The increments of one Brownian path per sample, as standard normals.

    The path runs in time 1/σ², in which the noise of a diffusion's stochastic equation grows evenly. It is
    drawn by bisection (Lévy's construction): each place depends on branches of the stream that are told by
    the place alone, so that the number of steps does not change the path.

    Args:
        noise: One stream per sample.
        shape: (c, h, w).
        sigma_max: The highest noise level, where the path begins.
        sigma_min: The lowest above 0, where it ends.
    """

    def __init__(self, noise: Noise, shape: tuple[int, ...], sigma_max: float, sigma_min: float) -> None:
        self._noise, self._shape = noise, shape
        self._ends = math.log(sigma_max), math.log(sigma_min)
        self._latest: tuple[float, Tensor] | None = None

    def __call__(self, sigma: float, sigma_next: float) -> Tensor:
        """Return the increment from σ to σ_next > 0, over its standard deviation; (n, c, h, w)."""
        start = self._latest[1] if self._latest and self._latest[0] == sigma else self._at(sigma)
        end = self._at(sigma_next)
        self._latest = sigma_next, end
        return (end - start) / math.sqrt(abs(self._time(sigma_next) - self._time(sigma)))

    def _time(self, sigma: float) -> float:
        high, low = self._ends
        return math.exp(-2 * min(max(math.log(sigma), low), high))

    def _at(self, sigma: float) -> Tensor:
        """Return the path at σ: halve the range around it and draw each middle given the two ends."""
        high, low = self._ends
        end = math.sqrt(math.exp(-2 * low) - math.exp(-2 * high)) * self._draw(1)
        start, node = end * 0.0, 1
        place = min(max(math.log(sigma), low), high)
        for depth in range(DEPTH + 1):
            middle = (high + low) / 2 if depth < DEPTH else place
            a, m, b = (math.exp(-2 * level) for level in (high, middle, low))
            between = start + (m - a) / (b - a) * (end - start)
            between = between + math.sqrt((m - a) * (b - m) / (b - a)) * self._draw(node + 1)
            if middle == place:
                return between
            node = 2 * node + (place < middle)
            if place > middle:
                low, end = middle, between
            else:
                high, start = middle, between
        raise AssertionError("the last middle is the place")

    def _draw(self, branch: int) -> Tensor:
        return self._noise.branch(branch).normal(*self._shape)
