"""What happens in step k as a pure function of (seed, k): which items it sees and what it draws.

Nothing is carried from one step to the next but the networks, their averages and the optimisers, so that a
run which was killed and resumed is, bit for bit, the run that was not.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache

import numpy as np


class Purpose(IntEnum):
    """What a seed is for; each purpose has streams of its own."""

    NETWORKS = 0
    ORDER = 1
    FLIP = 2
    LOSS = 3


def derive_seed(seed: int, purpose: Purpose, *place: int) -> int:
    """Return the seed in [0, 2**63) of one purpose at one place (a step, a step and a process, an epoch)."""
    words = np.random.SeedSequence([seed, purpose, *place]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


@lru_cache(maxsize=2)
def epoch_order(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order in which an epoch visits the items: a permutation of ``range(count)``, int64."""
    return np.random.default_rng(derive_seed(seed, Purpose.ORDER, epoch)).permutation(count)


def items_of_step(seed: int, step: int, batch_size: int, count: int) -> list[int]:
    """Return the items of step ``step`` (from 0): every epoch sees each item once, batches cross epochs."""
    first = step * batch_size
    return [
        int(epoch_order(seed, position // count, count)[position % count])
        for position in range(first, first + batch_size)
    ]


class BatchOrder:
    """The batches of one process from step ``start`` to ``steps``, for a ``DataLoader``'s ``batch_sampler``.

    Yields lists of (item, mirrored) pairs. Processes share a batch out in equal, adjacent parts.

    Args:
        seed: The run's seed.
        start: The first step to yield, from 0.
        steps: The number of steps in the run.
        batch_size: Items per step over all processes, a multiple of ``processes``.
        count: Number of items in the data.
        mirror: Whether half of the items, by lot, are mirrored left to right.
        process: The number of this process, from 0.
        processes: How many processes share the run.
    """

    def __init__(
        self,
        seed: int,
        start: int,
        steps: int,
        batch_size: int,
        count: int,
        mirror: bool = False,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        self.seed, self.start, self.steps = seed, start, steps
        self.batch_size, self.count, self.mirror = batch_size, count, mirror
        share = batch_size // processes
        self._part = slice(process * share, (process + 1) * share)

    def __iter__(self) -> Iterator[list[tuple[int, bool]]]:
        for step in range(self.start, self.steps):
            items = items_of_step(self.seed, step, self.batch_size, self.count)
            coins = np.random.default_rng(derive_seed(self.seed, Purpose.FLIP, step)).random(self.batch_size)
            mirrored = [self.mirror and bool(coin < 0.5) for coin in coins]
            yield list(zip(items, mirrored, strict=True))[self._part]

    def __len__(self) -> int:
        return self.steps - self.start
