"""Samples that depend on more than their seed."""

from __future__ import annotations

import random

import numpy as np
import torch

from zoo_core import Batch, Noise

from .sound import Teller, Toy


class IgnoresSeeds(Toy):
    """All its samples are the same."""

    caught_by = "different_seeds_give_different_samples"

    def start(self, batch: Batch) -> torch.Tensor:
        return torch.zeros(batch.n, 3, 4, 4, dtype=self.dtype) + 0.3


class TellsOneTale(Teller):
    """All its samples are the same."""

    caught_by = "different_seeds_give_different_samples"

    def tell(self, batch: Batch) -> tuple[str, ...]:
        return tuple(str(prompt) for prompt in batch.prompts)


class KeepsAState(Toy):
    """Its images get brighter with every batch."""

    caught_by = "the_same_seed_gives_the_same_sample"
    brightness = 0.0

    def start(self, batch: Batch) -> torch.Tensor:
        self.brightness += 0.01
        return super().start(batch) + self.brightness


class DrawsFromTorch(Toy):
    """It draws from torch's global generator."""

    caught_by = "global_random_state_is_not_used"

    def start(self, batch: Batch) -> torch.Tensor:
        return torch.randn(batch.n, 3, 4, 4, dtype=self.dtype)


class DrawsFromNumpy(Toy):
    """It draws from numpy's global generator."""

    caught_by = "global_random_state_is_not_used"

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        return super().refine(x, batch) + np.random.random_sample()


class SeedsTorch(Toy):
    """It seeds torch's global generator with every sample's seed."""

    caught_by = "global_random_state_is_not_changed"

    def start(self, batch: Batch) -> torch.Tensor:
        rows = []
        for seed in batch.noise.seeds:
            torch.manual_seed(seed)
            rows.append(torch.randn(3, 4, 4))
        return torch.stack(rows).to(self.dtype)


class DrawsForNothing(Toy):
    """It draws from Python's global generator and ignores the number."""

    caught_by = "global_random_state_is_not_changed"

    def start(self, batch: Batch) -> torch.Tensor:
        random.random()
        return super().start(batch)


class DrawsInAFork(Toy):
    """It uses the global generator and restores its state."""

    caught_by = "global_random_state_is_not_used"

    def start(self, batch: Batch) -> torch.Tensor:
        with torch.random.fork_rng():
            return super().start(batch) + torch.randn(())


class SubtractsTheMean(Toy):
    """It centres images on the mean of their batch."""

    caught_by = "a_sample_does_not_depend_on_its_batch"

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return super().finish(x - x.mean())


class NumbersItsRows(Toy):
    """It shades images by their position in the batch."""

    caught_by = "the_order_of_seeds_does_not_matter"

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return super().finish(x + torch.arange(len(x)).reshape(-1, 1, 1, 1) / 100)


class SharesOneStream(Toy):
    """It draws all noise from the first sample's stream."""

    caught_by = "the_order_of_seeds_does_not_matter"

    def start(self, batch: Batch) -> torch.Tensor:
        first = Noise(batch.noise.seeds[:1])
        return torch.cat([first.normal(3, 4, 4) for _ in batch.noise.seeds]).to(self.dtype)


class FollowsTheFirstPrompt(Teller):
    """Every sample follows the first prompt."""

    caught_by = "prompts_in_a_batch_do_not_mix"

    def tell(self, batch: Batch) -> tuple[str, ...]:
        return super().tell(Batch(batch.noise, batch.options, batch.prompts[:1] * batch.n))


class FollowsTheFirstLabel(Toy):
    """Every sample has the first label."""

    caught_by = "per_sample_options_do_not_mix"

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        return 0.9 * x + (batch.options.label[0] or 0) / 10
