"""Choose the items and the random seed of each step, as a pure function of the run's seed and the step.

Only networks, averages and optimisers carry state from step to step. A run that was killed and resumed is
therefore equal, bit for bit, to one that was never stopped.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache

import numpy as np


class Purpose(IntEnum):
    """Purposes of random numbers; each has its own independent streams."""

    NETWORKS = 0
    ORDER = 1
    FLIP = 2
    LOSS = 3


def derive_seed(seed: int, purpose: Purpose, *place: int) -> int:
    """Return the seed in [0, 2**63) of a purpose at a place: a step, a step and a process, or an epoch."""
    words = np.random.SeedSequence([seed, purpose, *place]).generate_state(1, np.uint64)
    return int(words[0] >> np.uint64(1))


@lru_cache(maxsize=2)
def epoch_permutation(seed: int, epoch: int, count: int) -> np.ndarray:
    """Return the order of the items in an epoch: a permutation of ``range(count)``, int64."""
    return np.random.default_rng(derive_seed(seed, Purpose.ORDER, epoch)).permutation(count)


def items_of_step(seed: int, step: int, batch_size: int, count: int) -> list[int]:
    """Return the items of step ``step`` (from 0). An epoch has each item once; a batch may cross epochs."""
    first = step * batch_size
    return [
        int(epoch_permutation(seed, position // count, count)[position % count])
        for position in range(first, first + batch_size)
    ]


class BatchSampler:
    """The batches of one process from step ``start`` to ``steps``: a ``DataLoader``'s ``batch_sampler``.

    Yields lists of (item, mirrored) pairs. Each process gets an equal, contiguous part of every batch.

    Args:
        seed: The run's seed.
        start: The first step to yield, from 0.
        steps: The number of steps in the run.
        batch_size: Items per step over all processes, a multiple of ``processes``.
        count: Number of items in the data.
        mirror: Mirror each item left to right with probability 0.5.
        process: The number of this process, from 0.
        processes: Number of processes in the run.
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
            draws = np.random.default_rng(derive_seed(self.seed, Purpose.FLIP, step)).random(self.batch_size)
            mirrored = [self.mirror and bool(draw < 0.5) for draw in draws]
            yield list(zip(items, mirrored, strict=True))[self._part]

    def __len__(self) -> int:
        return self.steps - self.start
