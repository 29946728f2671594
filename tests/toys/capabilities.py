"""Capabilities that are not what the card says, or not what they should be."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from zoo_core import Batch, Noise, Score, Step

from .sound import Judge, Speller, Spelling, Toy, Walker


class ClaimsToScore(Toy):
    """Its card says that it scores."""

    caught_by = "declared_capabilities_are_implemented"
    capabilities = ("score",)


class HidesThatItScores(Judge):
    """Its card does not say that it scores."""

    caught_by = "implemented_capabilities_are_declared"
    capabilities = ()


class ScoresInFloat32(Judge):
    """Its scores are rounded to float32."""

    caught_by = "scores_are_finite"

    def log_likelihood(self, data: torch.Tensor, noise: Noise) -> Score:
        score = super().log_likelihood(data, noise)
        return Score(score.nats.float(), score.size)


class ScoresInfinitely(Judge):
    """It holds what it made for impossible."""

    caught_by = "scores_are_finite"

    def judge(self, levels: torch.Tensor) -> torch.Tensor:
        return super().judge(levels) * torch.inf


class ScoresAtRandom(Judge):
    """A score is another every time."""

    caught_by = "a_score_does_not_depend_on_its_batch"

    def judge(self, levels: torch.Tensor) -> torch.Tensor:
        return super().judge(levels) * torch.rand(())


class ScoresTheBatch(Judge):
    """A score is the mean of its batch."""

    caught_by = "a_score_does_not_depend_on_its_batch"

    def judge(self, levels: torch.Tensor) -> torch.Tensor:
        return super().judge(levels).mean().expand(len(levels))


class ScoresDensities(Judge):
    """Its scores are logarithms of something that is no probability."""

    caught_by = "scores_are_probabilities"

    def judge(self, levels: torch.Tensor) -> torch.Tensor:
        return 10 + levels.mean(1)


class PredictsHalf(Speller):
    """It forgets to normalise what comes next."""

    caught_by = "next_token_probabilities_sum_to_one"

    def next_token(self, prompt: str) -> Spelling:
        return Spelling(prompt, self.table() - 0.7)


class PredictsByAnotherTable(Speller):
    """It tells what comes next by another table than it scores by."""

    caught_by = "next_token_agrees_with_the_score"

    def next_token(self, prompt: str) -> Spelling:
        return Spelling(prompt, self.table().flip(1))


class DrawsElsewhere(Walker):
    """It draws places in another way than samples."""

    caught_by = "latents_reproduce_the_images"

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield Step(images=self.synthesize(2 * self.encode(batch), batch.options, batch.noise))
