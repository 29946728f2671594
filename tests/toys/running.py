"""Generators whose runs are broken."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from zoo_core import Batch, Step

from .sound import Player, Tabulator, Teller, Toy


class YieldsNothing(Toy):
    """It yields no step."""

    caught_by = "a_run_ends_with_a_result"

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield from ()


class NeverEnds(Toy):
    """Its last step is followed by another."""

    caught_by = "a_run_ends_with_a_result"

    def generate(self, batch: Batch) -> Iterator[Step]:
        while True:
            yield from super().generate(batch)


class EndsEmptyHanded(Toy):
    """Its last step has no result."""

    caught_by = "a_run_ends_with_a_result"

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield from super().generate(batch)
        yield Step(batch.options.steps + 1, batch.options.steps + 1)


class MakesTexts(Toy):
    """Its card declares images, but it generates texts."""

    caught_by = "a_run_ends_with_a_result"

    def generate(self, batch: Batch) -> Iterator[Step]:
        yield Step(texts=("x",) * batch.n)


class Raises(Toy):
    """It fails."""

    caught_by = "a_run_ends_with_a_result"

    def start(self, batch: Batch) -> torch.Tensor:
        raise ValueError("no such layer")


class CountsFromZero(Toy):
    """Its first step has index 0."""

    caught_by = "steps_count_up_to_the_total"

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            yield Step(step.index - 1, step.total, step.images)


class CountsBackwards(Toy):
    """Its index counts down."""

    caught_by = "steps_count_up_to_the_total"

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            yield Step(step.total - step.index + 1, step.total, step.images)


class MovesItsGoal(Toy):
    """Its total grows with every step."""

    caught_by = "steps_count_up_to_the_total"

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            yield Step(step.index, step.index, step.images)


class LosesARow(Toy):
    """It returns one image too few for a batch of several."""

    caught_by = "every_step_has_one_row_per_sample"

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return super().finish(x[: max(1, len(x) - 1)])


class TellsOneFact(Toy):
    """It returns one row of metadata for the whole batch."""

    caught_by = "every_step_has_one_row_per_sample"

    def metadata(self, batch: Batch) -> tuple[dict[str, Any], ...]:
        return ({"steps": batch.options.steps},)


class TellsASet(Toy):
    """Its metadata contains a value that JSON cannot represent."""

    caught_by = "metadata_is_json"

    def metadata(self, batch: Batch) -> tuple[dict[str, Any], ...]:
        return tuple({"seed": {seed}} for seed in batch.noise.seeds)


class MakesNaN(Toy):
    """A value is NaN."""

    caught_by = "images_are_finite_and_in_range"

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        images = super().finish(x)
        images[-1, 0, 0, 0] = torch.nan
        return images


class LeavesTheRange(Toy):
    """Its images are not squashed into [-1, 1]."""

    caught_by = "images_are_finite_and_in_range"

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * x.float()


class PreviewsNoise(Toy):
    """Only its last images are in range."""

    caught_by = "images_are_finite_and_in_range"

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            assert step.images is not None
            scale = 1 if step.index == step.total else 9
            yield Step(step.index, step.total, images=scale * step.images)


class MakesBytes(Toy):
    """It returns 8-bit images."""

    caught_by = "images_are_finite_and_in_range"

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return (127.5 * (super().finish(x) + 1)).to(torch.uint8)


class MakesTwoChannels(Toy):
    """Its images have two channels."""

    caught_by = "images_are_finite_and_in_range"

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return super().finish(x)[:, :2]


class TellsBytes(Teller):
    """Its texts are not decoded."""

    caught_by = "texts_are_valid_strings"

    def tell(self, batch: Batch) -> tuple[str, ...]:
        return tuple(text.encode() for text in super().tell(batch))  # type: ignore[misc]


class TellsSurrogates(Teller):
    """Its texts cannot be encoded as UTF-8."""

    caught_by = "texts_are_valid_strings"

    def tell(self, batch: Batch) -> tuple[str, ...]:
        return tuple(text + "\ud800" for text in super().tell(batch))


class KeepsGradients(Toy):
    """It leaves inference mode."""

    caught_by = "images_have_no_gradient"

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        with torch.inference_mode(False), torch.enable_grad():
            weight = torch.ones((), requires_grad=True)
            return super().finish(x.clone() * weight)


class LosesTheBatchOfOne(Toy):
    """It squeezes away the dimension of a batch of one."""

    caught_by = "any_number_of_samples_can_be_generated"

    def finish(self, x: torch.Tensor) -> torch.Tensor:
        return super().finish(x).squeeze()


class HoldsSixteen(Toy):
    """It supports at most sixteen samples."""

    caught_by = "any_number_of_samples_can_be_generated"

    def start(self, batch: Batch) -> torch.Tensor:
        room = torch.zeros(16, 3, 4, 4, dtype=self.dtype)
        room[: batch.n] += super().start(batch)
        return room[: batch.n]


class ChangesItsMind(Teller):
    """Its later texts do not extend the earlier ones."""

    caught_by = "previews_are_consistent_with_the_result"

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            assert step.texts is not None
            yield Step(1, 2, texts=tuple(text[::-1] for text in step.texts))
            yield Step(2, 2, texts=step.texts)


class PreviewsInSmall(Toy):
    """Its previews are smaller than its images."""

    caught_by = "previews_are_consistent_with_the_result"

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            assert step.images is not None
            small = step.index < step.total
            yield Step(step.index, step.total, step.images[:, :, ::2, ::2] if small else step.images)


class PlaysTooLoud(Player):
    """Its audio is outside [-1, 1]."""

    caught_by = "other_kinds_of_output_are_sound"

    def play(self, batch: Batch) -> torch.Tensor:
        return 3 * super().play(batch)


class PlaysAtNoRate(Player):
    """Its audio has no sampling rate."""

    caught_by = "other_kinds_of_output_are_sound"
    rate = 0.0


class TearsTables(Tabulator):
    """A column of its tables lacks a row."""

    caught_by = "other_kinds_of_output_are_sound"

    def table(self, numbers: list[float]) -> dict[str, list[Any]]:
        return {"height": numbers[1:], "name": ["a", "b", "c"]}
