"""Generators with broken options or prompts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch

from zoo_core import Batch, Checkpoint, Option, OptionError, Step

from .sound import Shade, Teller, Toy, Weighted


class HasAMuteOption(Toy):
    """One of its options has no description."""

    caught_by = "options_have_descriptions"
    options = "[model.options.mystery]\ntype = 'integer'\n"


class FailsAtTheMaximum(Toy):
    """It fails for class 9, which its card declares."""

    caught_by = "every_declared_option_value_works"

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        if 9 in batch.options.label:
            raise IndexError("index 9 is out of bounds")
        return super().refine(x, batch)


class OverflowsAtTheMaximum(Toy):
    """At the maximum scale, its images are out of range."""

    caught_by = "every_declared_option_value_works"

    def generate(self, batch: Batch) -> Iterator[Step]:
        for step in super().generate(batch):
            assert step.images is not None
            yield Step(step.index, step.total, step.images * max(1.0, batch.options.scale))


class FailsOnLongPrompts(Teller):
    """It fails with an IndexError on prompts longer than its context."""

    caught_by = "any_prompt_is_accepted_or_refused"

    def tell(self, batch: Batch) -> tuple[str, ...]:
        if any(len(prompt or "") > 100 for prompt in batch.prompts):
            raise IndexError("index out of range in self")
        return super().tell(batch)


class RefusesWithoutRemedy(Toy):
    """It refuses class 9 without a remedy."""

    caught_by = "errors_include_a_remedy"

    def refine(self, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        if 9 in batch.options.label:
            raise OptionError("There is no class 9.", "")
        return super().refine(x, batch)


class LoadsStrictlyByItself(Weighted):
    """It refuses mismatched tensors with torch's own error."""

    caught_by = "errors_include_a_remedy"

    def read(self, checkpoint: Checkpoint) -> None:
        self.network = Shade()
        self.network.load_state_dict(checkpoint.tensors("model"))


class LetsOptionsThrough(Toy):
    """Its card, created by code, has options that accept anything."""

    caught_by = "invalid_options_are_refused"
    listed = True

    @staticmethod
    def options_of(options: dict[str, Option]) -> dict[str, Option]:
        return {name: Permissive(**vars(option)) for name, option in options.items()}


class Permissive(Option):
    """An option that accepts anything."""

    def check(self, value: object) -> Any:
        return tuple(value) if isinstance(value, list) else value


class TakesUnknownOptions(Toy):
    """Its card, created by code, claims to have every option."""

    caught_by = "unknown_options_are_refused"
    listed = True

    @staticmethod
    def options_of(options: dict[str, Option]) -> dict[str, Option]:
        return Accommodating(options)


class Accommodating(dict[str, Option]):
    """A mapping that has every key."""

    def __contains__(self, key: object) -> bool:
        return True
