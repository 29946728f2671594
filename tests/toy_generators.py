"""Tiny generators for the tests of the conformance suite: one that keeps every contract, many that break one.

The module becomes the ``generator.py`` of a plugin. Each broken generator says in ``caught_by`` which checks
must fail, and its docstring says what is wrong with it.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np
import torch

from zoo_core import Batch, Noise, OptionError, Score, Step

ANY_BATCH = {"test_a_sample_is_the_same_in_any_batch[1]", "test_a_sample_is_the_same_in_any_batch[5]"}
ANY_BATCH_SIZE = {f"test_a_sample_is_the_same_for_any_batch_size[{size}]" for size in (1, 2, 5)}
ANY_PLACE = {
    "test_the_order_of_seeds_does_not_matter",
    "test_a_sample_is_the_same_for_any_batch_size[1]",
    "test_a_sample_is_the_same_for_any_batch_size[2]",
    "test_options_given_per_sample_do_not_mix",
}


class Toy:
    """Pictures of squashed noise, whiter with every label: it keeps every contract."""

    caught_by: ClassVar[Iterable[str]] = ()
    abilities: ClassVar[tuple[str, ...]] = ()
    output = "image"
    prompt = "none"
    options = ""
    """More options, for the card."""
    batch_size = 4

    def __init__(self, dtype: torch.dtype | None) -> None:
        self.dtype = dtype or torch.float32

    def generate(self, batch: Batch) -> Iterator[Step]:
        x = self.start(batch)
        for index in range(1, batch.options.steps + 1):
            x = self.refine(x, batch)
            yield Step(index, batch.options.steps, images=self.finish(x), facts=self.facts(batch))

    def start(self, batch: Batch) -> torch.Tensor:
        return batch.noise.normal(3, 4, 4).to(self.dtype)

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        labels = torch.tensor([label or 0 for label in batch.options.label], dtype=self.dtype)
        return 0.9 * x + labels.reshape(-1, 1, 1, 1) / 10

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return x.float().tanh()

    def facts(self, batch: Batch) -> tuple[dict[str, Any], ...]:
        return tuple({"seed": seed} for seed in batch.noise.seeds)


class Teller(Toy):
    """Texts that tell the prompt and a number: it keeps every contract, too."""

    output = "text"
    prompt = "required"

    def generate(self, batch: Batch) -> Iterator[Step]:
        if any(prompt is not None and "\0" in prompt for prompt in batch.prompts):
            raise OptionError("The prompt holds a zero.", "Leave it out.")
        yield Step(texts=self.tell(batch))

    def tell(self, batch: Batch) -> tuple[str, ...]:
        numbers = (1000 * batch.noise.uniform()).int().tolist()
        return tuple(f"{prompt} {number}" for prompt, number in zip(batch.prompts, numbers, strict=True))


class Judge(Toy):
    """It scores, and keeps every contract."""

    abilities = ("score",)

    def log_likelihood(self, data: torch.Tensor, noise: Noise) -> Score:
        likelihoods = self.judge(data.double().flatten(1)) - noise.uniform().double()
        return Score(likelihoods, torch.full((len(data),), data[0].numel()), bound=True)

    def judge(self, levels: torch.Tensor) -> torch.Tensor:
        return -levels.sum(1)


# --- A run -------------------------------------------------------------------------------------------------


class YieldsNothing(Toy):
    """It yields no step."""

    caught_by = ("test_a_run_ends_with_a_result",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield from ()


class NeverEnds(Toy):
    """Its last step is followed by another."""

    caught_by = ("test_a_run_ends_with_a_result",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        while True:
            yield from super().generate(batch)


class EndsEmptyHanded(Toy):
    """Its last step carries nothing."""

    caught_by = ("test_a_run_ends_with_a_result",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield from super().generate(batch)
        yield Step(batch.options.steps + 1, batch.options.steps + 1)


class MakesTexts(Toy):
    """Its card says pictures; it makes texts."""

    caught_by = ("test_a_run_ends_with_a_result",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield Step(texts=("x",) * batch.n)


class Raises(Toy):
    """It fails."""

    caught_by = ("test_a_run_ends_with_a_result",)

    def start(self, batch: Batch) -> torch.Tensor:
        raise ValueError("no such layer")


class CountsFromZero(Toy):
    """Its first step has index 0."""

    caught_by = ("test_steps_count_up_to_their_total",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            yield Step(step.index - 1, step.total, step.images)


class CountsBackwards(Toy):
    """Its index tells how many steps are left."""

    caught_by = ("test_steps_count_up_to_their_total",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            yield Step(step.total - step.index + 1, step.total, step.images)


class MovesItsGoal(Toy):
    """Its total grows with every step."""

    caught_by = ("test_steps_count_up_to_their_total",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            yield Step(step.index, step.index, step.images)


class LosesARow(Toy):
    """It makes one picture less than asked for, where it is asked for several."""

    caught_by = ("test_every_sample_has_its_row",)

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return super().finish(x[: max(1, len(x) - 1)])


class TellsOneFact(Toy):
    """It tells one fact for the whole batch."""

    caught_by = ("test_every_sample_has_its_row",)

    def facts(self, batch: Batch) -> tuple[dict[str, Any], ...]:
        return ({"steps": batch.options.steps},)


class TellsASet(Toy):
    """Its facts hold what JSON cannot."""

    caught_by = ("test_facts_can_be_recorded",)

    def facts(self, batch: Batch) -> tuple[dict[str, Any], ...]:
        return tuple({"seed": {seed}} for seed in batch.noise.seeds)


class MakesNaN(Toy):
    """A value is not a number."""

    caught_by = ("test_pictures_are_finite_and_in_range",)

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        images = super().finish(x)
        images[-1, 0, 0, 0] = torch.nan
        return images


class LeavesTheRange(Toy):
    """It forgets to squash."""

    caught_by = ("test_pictures_are_finite_and_in_range",)

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x.float()


class PreviewsNoise(Toy):
    """Only its last pictures are in range."""

    caught_by = ("test_pictures_are_finite_and_in_range",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            assert step.images is not None
            scale = 1 if step.index == step.total else 9
            yield Step(step.index, step.total, images=scale * step.images)


class MakesBytes(Toy):
    """It makes 8-bit pictures."""

    caught_by = ("test_pictures_are_finite_and_in_range",)

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return (127.5 * (super().finish(x) + 1)).to(torch.uint8)


class MakesTwoChannels(Toy):
    """Its pictures have two channels."""

    caught_by = ("test_pictures_are_finite_and_in_range",)

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return super().finish(x)[:, :2]


class TellsBytes(Teller):
    """Its texts are not decoded."""

    caught_by = ("test_texts_are_text",)

    def tell(self, batch: Batch) -> tuple[str, ...]:
        return tuple(text.encode() for text in super().tell(batch))  # type: ignore[misc]


class TellsSurrogates(Teller):
    """Its texts cannot be written."""

    caught_by = ("test_texts_are_text",)

    def tell(self, batch: Batch) -> tuple[str, ...]:
        return tuple(text + "\ud800" for text in super().tell(batch))


class KeepsGradients(Toy):
    """It leaves inference mode."""

    caught_by = ("test_gradients_are_not_kept",)

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            weight = torch.ones((), requires_grad=True)
            return super().finish(x.clone() * weight)


# --- A sample is a property of its seed --------------------------------------------------------------------


class IgnoresSeeds(Toy):
    """All its samples are one."""

    caught_by = ("test_other_seeds_make_other_samples",)

    def start(self, batch: Batch) -> torch.Tensor:
        return torch.zeros(batch.n, 3, 4, 4, dtype=self.dtype) + 0.3


class TellsOneTale(Teller):
    """All its samples are one."""

    caught_by = ("test_other_seeds_make_other_samples",)

    def tell(self, batch: Batch) -> tuple[str, ...]:
        return tuple(str(prompt) for prompt in batch.prompts)


class KeepsAState(Toy):
    """It is a little brighter after every batch."""

    caught_by = ("test_the_same_seed_makes_the_same_sample", "test_global_random_state_is_not_used")
    brightness = 0.0

    def start(self, batch: Batch) -> torch.Tensor:
        self.brightness += 0.01
        return super().start(batch) + self.brightness


class DrawsFromTorch(Toy):
    """It draws from torch's global generator."""

    caught_by = ("test_global_random_state_is_not_used", "test_global_random_state_is_left_alone")

    def start(self, batch: Batch) -> torch.Tensor:
        return torch.randn(batch.n, 3, 4, 4, dtype=self.dtype)


class DrawsFromNumpy(Toy):
    """It draws from numpy's global generator."""

    caught_by = ("test_global_random_state_is_not_used", "test_global_random_state_is_left_alone")

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        return super().refine(x, batch) + np.random.random_sample()


class SeedsTorch(Toy):
    """It seeds torch's global generator with every sample's seed."""

    caught_by = ("test_global_random_state_is_left_alone",)

    def start(self, batch: Batch) -> torch.Tensor:
        rows = []
        for seed in batch.noise.seeds:
            torch.manual_seed(seed)
            rows.append(torch.randn(3, 4, 4))
        return torch.stack(rows).to(self.dtype)


class DrawsForNothing(Toy):
    """It draws from Python's global generator, and uses nothing of it."""

    caught_by = ("test_global_random_state_is_left_alone",)

    def start(self, batch: Batch) -> torch.Tensor:
        random.random()
        return super().start(batch)


class DrawsInAFork(Toy):
    """It uses the global generator, and gives it back as it was."""

    caught_by = ("test_global_random_state_is_not_used",)

    def start(self, batch: Batch) -> torch.Tensor:
        with torch.random.fork_rng():
            return super().start(batch) + torch.randn(())


class SubtractsTheMean(Toy):
    """It centres pictures on the mean of their batch."""

    caught_by = ANY_BATCH | ANY_BATCH_SIZE | {"test_options_given_per_sample_do_not_mix"}

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return super().finish(x - x.mean())


class NumbersItsRows(Toy):
    """It shades pictures by their place in the batch."""

    caught_by = ANY_PLACE

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return super().finish(x + torch.arange(len(x)).reshape(-1, 1, 1, 1) / 100)


class SharesOneStream(Toy):
    """It draws all noise from the first sample's stream."""

    caught_by = ANY_PLACE

    def start(self, batch: Batch) -> torch.Tensor:
        first = Noise(batch.noise.seeds[:1])
        return torch.cat([first.normal(3, 4, 4) for _ in batch.noise.seeds]).to(self.dtype)


class FollowsTheFirstPrompt(Teller):
    """Every sample follows the first prompt."""

    caught_by = ("test_prompts_of_a_batch_do_not_mix",)

    def tell(self, batch: Batch) -> tuple[str, ...]:
        return super().tell(Batch(batch.noise, batch.options, batch.prompts[:1] * batch.n))


class FollowsTheFirstLabel(Toy):
    """Every sample has the first label."""

    caught_by = ("test_options_given_per_sample_do_not_mix",)

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        return 0.9 * x + (batch.options.label[0] or 0) / 10


# --- What a run leaves behind ------------------------------------------------------------------------------


class ChangesOptions(Toy):
    """It halves the number of steps where it stands."""

    caught_by = ("test_the_batch_is_left_as_it_was",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        batch.options.steps = (batch.options.steps + 1) // 2
        yield from super().generate(batch)


class KeepsTheBatch(Toy):
    """It remembers the batch it made last."""

    caught_by = ("test_closing_a_run_frees_it",)

    def start(self, batch: Batch) -> torch.Tensor:
        self.last = batch
        return super().start(batch)


class DoesNotStop(Toy):
    """It goes on when it is closed."""

    caught_by = ("test_closing_a_run_frees_it", "test_closing_a_run_leaves_nothing_behind")

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            try:
                yield step
            except GeneratorExit:
                yield step


class RemembersCancelling(Toy):
    """What was cancelled shines through in the next picture."""

    caught_by = ("test_closing_a_run_leaves_nothing_behind",)
    rest = 0.0

    def generate(self, batch: Batch) -> Iterator[Step]:
        self.rest, rest = 0.5, self.rest
        for step in super().generate(batch):
            assert step.images is not None
            yield Step(step.index, step.total, (step.images + rest).clamp(-1, 1))
        self.rest = 0.0


class SetsTheDefaultDtype(Toy):
    """It changes a setting of torch on the way."""

    caught_by = ("test_torch_is_left_as_it_was",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        torch.set_default_dtype(torch.float64)
        try:
            yield from super().generate(batch)
        finally:
            torch.set_default_dtype(torch.float32)


class KeepsEveryPicture(Toy):
    """It keeps what it has made."""

    caught_by = ("test_memory_does_not_grow_with_the_number_of_samples",)

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(dtype)
        self.made: list[torch.Tensor] = []

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        self.made.append(super().finish(x))
        return self.made[-1]


# --- Options and prompts -----------------------------------------------------------------------------------


class HasAMuteOption(Toy):
    """Its card does not say what an option is for."""

    caught_by = ("test_options_explain_themselves",)
    options = "[model.options.mystery]\ntype = 'integer'\n"


class FailsAtTheMaximum(Toy):
    """It has no class 9, which its card names."""

    caught_by = ("test_every_value_the_card_names_can_be_used",)

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        if 9 in batch.options.label:
            raise IndexError("index 9 is out of bounds")
        return super().refine(x, batch)


class OverflowsAtTheMaximum(Toy):
    """At the largest scale its card names, its pictures leave the range."""

    caught_by = ("test_every_value_the_card_names_can_be_used",)

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            assert step.images is not None
            yield Step(step.index, step.total, step.images * max(1.0, batch.options.scale))


class FailsOnLongPrompts(Teller):
    """A prompt beyond its context is an error inside."""

    caught_by = ("test_any_prompt_is_answered_or_refused",)

    def tell(self, batch: Batch) -> tuple[str, ...]:
        if any(len(prompt or "") > 100 for prompt in batch.prompts):
            raise IndexError("index out of range in self")
        return super().tell(batch)


# --- Abilities ---------------------------------------------------------------------------------------------


class ClaimsToScore(Toy):
    """Its card says that it scores."""

    caught_by = ("test_abilities_that_are_claimed_are_there",)
    abilities = ("score",)


class HidesThatItScores(Judge):
    """Its card does not say that it scores."""

    caught_by = ("test_abilities_that_are_there_are_claimed",)
    abilities = ()


class ScoresInFloat32(Judge):
    """Its scores are rounded to float32."""

    caught_by = ("test_scores_are_finite",)

    def log_likelihood(self, data: torch.Tensor, noise: Noise) -> Score:
        score = super().log_likelihood(data, noise)
        return Score(score.nats.float(), score.size)


class ScoresInfinitely(Judge):
    """It holds what it made for impossible."""

    caught_by = ("test_scores_are_finite",)

    def judge(self, levels: torch.Tensor) -> torch.Tensor:
        return super().judge(levels) * torch.inf


class ScoresAtRandom(Judge):
    """A score is another every time."""

    caught_by = ("test_a_score_is_the_same_in_any_batch",)

    def judge(self, levels: torch.Tensor) -> torch.Tensor:
        return super().judge(levels) * torch.rand(())


class ScoresTheBatch(Judge):
    """A score is the mean of its batch."""

    caught_by = ("test_a_score_is_the_same_in_any_batch",)

    def judge(self, levels: torch.Tensor) -> torch.Tensor:
        return super().judge(levels).mean().expand(len(levels))


# --- Being loaded ------------------------------------------------------------------------------------------


class NamesNoDtype(Toy):
    """It does not say what it computes in."""

    caught_by = ("test_the_dtype_it_names_is_the_one_it_computes_in",)
    dtype = property(lambda self: None, lambda self, dtype: None)  # type: ignore[assignment]

    def start(self, batch: Batch) -> torch.Tensor:
        return batch.noise.normal(3, 4, 4)

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        return 0.9 * x + torch.tensor([label or 0 for label in batch.options.label]).reshape(-1, 1, 1, 1) / 10


class BoastsOfBfloat16(Toy):
    """It says that it computes in what was asked for, and does not."""

    caught_by = ("test_the_dtype_it_names_is_the_one_it_computes_in",)

    def start(self, batch: Batch) -> torch.Tensor:
        return batch.noise.normal(3, 4, 4)

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        labels = torch.tensor([label or 0 for label in batch.options.label])
        return 0.9 * x + labels.reshape(-1, 1, 1, 1) / 10


class IgnoresTheDtype(Toy):
    """It computes in float32, says so, and does not refuse another dtype."""

    caught_by = ("test_the_dtype_it_names_is_the_one_it_computes_in",)

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(None)


class AsksTheNetwork(Toy):
    """It looks for news when it is made."""

    caught_by = ("test_weights_that_are_here_need_no_network",)

    def __init__(self, dtype: torch.dtype | None) -> None:
        super().__init__(dtype)
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", 9), timeout=1).close()


class LikesNoSamples(Toy):
    """It likes to make none at once."""

    caught_by = ("test_the_batch_size_it_likes_is_a_number",)
    batch_size = 0
