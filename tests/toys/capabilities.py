"""Generators with undeclared, missing or wrong capabilities."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import torch

from zoo_core import Batch, Embeddings, InputImage, Message, Noise, Score, Step

from .sound import Counter, Halver, Painter, Rater, Speller, Spelling, Talker, Toy, Walker


class ClaimsToScore(Toy):
    """Its card declares scores, which it does not implement."""

    caught_by = "declared_capabilities_are_implemented"
    capabilities = ("score",)


class HidesThatItScores(Rater):
    """Its card does not declare its scores."""

    caught_by = "implemented_capabilities_are_declared"
    capabilities = ()


class ScoresInFloat32(Rater):
    """Its scores are rounded to float32."""

    caught_by = "scores_are_finite"

    def log_likelihood(self, data: torch.Tensor, noise: Noise) -> Score:
        score = super().log_likelihood(data, noise)
        return Score(score.nats.float(), score.size)


class ScoresInfinitely(Rater):
    """Its scores are infinite."""

    caught_by = "scores_are_finite"

    def rate(self, levels: torch.Tensor) -> torch.Tensor:
        return super().rate(levels) * torch.inf


class ScoresAtRandom(Rater):
    """Its scores are random."""

    caught_by = "a_score_does_not_depend_on_its_batch"

    def rate(self, levels: torch.Tensor) -> torch.Tensor:
        return super().rate(levels) * torch.rand(())


class ScoresTheBatch(Rater):
    """A score is the mean of its batch."""

    caught_by = "a_score_does_not_depend_on_its_batch"

    def rate(self, levels: torch.Tensor) -> torch.Tensor:
        return super().rate(levels).mean().expand(len(levels))


class ScoresDensities(Rater):
    """Its scores are log densities, not log probabilities."""

    caught_by = "scores_are_probabilities"

    def rate(self, levels: torch.Tensor) -> torch.Tensor:
        return 10 + levels.mean(1)


class PredictsHalf(Speller):
    """Its next-token probabilities do not sum to one."""

    caught_by = "next_token_probabilities_sum_to_one"

    def next_token(self, prompt: str) -> Spelling:
        return Spelling(prompt, self.table() - 0.7)


class PredictsByAnotherTable(Speller):
    """It predicts with another table than it scores with."""

    caught_by = "next_token_agrees_with_the_score"

    def next_token(self, prompt: str) -> Spelling:
        return Spelling(prompt, self.table().flip(1))


class EmbedsTheBatch(Counter):
    """Its vectors are compared with the mean of their batch."""

    caught_by = "an_embedding_does_not_depend_on_its_batch"

    def embed_texts(self, texts: Sequence[str]) -> Embeddings:
        found = super().embed_texts(texts)
        return Embeddings(found.vectors - found.vectors.mean(0) / 2, found.tokens)


class EncodesNoMessage(Talker):
    """Its conversations have no tokens."""

    caught_by = "conversations_are_answered"

    def encode_chat(self, messages: Sequence[Message], tools: object = None) -> list[int]:
        return []


class AnswersTheFirst(Talker):
    """It answers the first conversation of a batch in every row."""

    caught_by = "conversations_are_answered"

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield from super().generate(replace(batch, conversations=batch.conversations[:1] * batch.n))


class DrawsElsewhere(Walker):
    """It generates images from other latents than encode returns."""

    caught_by = "latents_reproduce_the_images"

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield Step(images=self.synthesize(2 * self.encode(batch), batch.options, batch.noise))


class DecodesTheBatch(Halver):
    """A decoded image is the mean of its batch."""

    caught_by = "encoded_images_are_decoded"

    def decode_latents(self, latents: torch.Tensor) -> torch.Tensor:
        return super().decode_latents(latents).mean(0, keepdim=True).expand_as(latents)


class EncodesAtRandom(Halver):
    """Its latents are drawn from a distribution."""

    caught_by = "encoded_images_are_decoded"

    def encode_image(self, image: InputImage) -> torch.Tensor:
        return super().encode_image(image) + 0.1 * torch.randn(1)


class PaintsTheBatch(Painter):
    """An edit is the mean of its batch."""

    caught_by = "edits_do_not_depend_on_their_batch"

    def painted(self, batch: Batch, image: InputImage) -> torch.Tensor:
        return super().painted(batch, image).mean(0, keepdim=True).expand(batch.n, -1, -1, -1)


class PaintsOverTheMask(Painter):
    """It changes what the mask keeps."""

    caught_by = "a_mask_keeps_the_rest"

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        yield Step(images=self.painted(batch, image))
