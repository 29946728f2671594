"""A model under the suite: what several checks need of it is made once."""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from zoo_core.environment import load
from zoo_core.errors import ZooError
from zoo_core.files import is_inside
from zoo_core.manifest.cards import ModelCard, Option
from zoo_core.noise import Noise
from zoo_core.plugins.discovery import installed_plugins, package_folder
from zoo_core.protocols import Batch, Generator, Score, Scorer, Step
from zoo_core.running.model import Model
from zoo_core.testing.conformance.check import Judged, Unclaimed
from zoo_core.testing.conformance.damage import damages, load_damaged
from zoo_core.testing.driving import Row, Runner, rows_of
from zoo_core.testing.soundness import require_result, require_sound
from zoo_core.testing.watching import global_random_state

SEEDS = (0, 1, 2)
WIDE = 64
"""Samples of the widest batch, where they are small."""
WIDE_VALUES = 2**22
"""Values of all its images together; of larger images it has fewer, but at least 8."""

Named = str | os.PathLike[str] | ModelCard
"""What :func:`zoo_core.load` takes."""


NO_MEANING = "no such thing"
"""Given for an option that takes any text."""
PROMPTS = {
    "empty": "",
    "blank": "  \t",
    "very long": "a very long prompt " * 500,
    "of many scripts": "naïve 漢字 עברית 🦓👩‍🚀 e\u0301",
    "with line breaks and a zero": "one\ntwo\r\nthree\0",
}
DTYPES_TRIED = ("float32", "bfloat16", "float64")


@dataclass(frozen=True)
class Attempt:
    """Something that was asked of a model, and what came of it."""

    what: str
    """What was asked, in words."""
    model: Model | None = None
    """Where it was a type to compute in: the model."""
    error: Exception | None = None
    """How it was refused, or failed; AssertionError if it made something that is no sample."""


class Subject(Judged):
    """A model under the suite.

    Args:
        model: A loaded model, or what :func:`zoo_core.load` takes.
        prompt: The prompt of every run; by default what the card's ``check`` says, and where a prompt is
            required and it says none, a few words.
        options: Options of every run; by default what the card's ``check`` says.
    """

    def __init__(
        self,
        model: Model | Named,
        prompt: str | None = None,
        options: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self._given = model
        self._prompt = prompt
        self._options = options

    @cached_property
    def run(self) -> Runner:
        """What runs the model, which is loaded if it was only named."""
        model = self._given if isinstance(self._given, Model) else load(self._given, device="cpu")
        chosen = options_of_runs(model.card)
        prompt = chosen.pop("prompt", None)
        if prompt is None and model.card.prompt == "required":
            prompt = "Once upon a time"
        return Runner(
            model,
            prompt if self._prompt is None else self._prompt,
            chosen if self._options is None else self._options,
        )

    def runner(self, model: Model) -> Runner:
        """The same for another loading of the model."""
        return Runner(model, self.run.prompt, self.run.options)

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.run.model.card

    @property
    def generator(self) -> Generator:
        """The model's generator."""
        return self.run.model.generator

    @cached_property
    def reference(self) -> list[Step]:
        """The steps of one batch."""
        with global_random_state(0):
            return self.run.steps(SEEDS)

    @cached_property
    def rows(self) -> list[Row]:
        """The samples of that batch."""
        return rows_of(self.reference[-1])

    @cached_property
    def widest(self) -> int:
        """How many samples the widest batch has."""
        first = self.rows[0]
        if isinstance(first, torch.Tensor):
            return min(WIDE, max(8, WIDE_VALUES // first.numel()))
        return WIDE

    @cached_property
    def wide_step(self) -> Step:
        """The last step of the widest batch: seeds 0, 1, … at once."""
        return self.run.last(range(self.widest))

    @cached_property
    def wide(self) -> list[Row]:
        """The samples of that batch."""
        return rows_of(self.wide_step)

    @cached_property
    def values_tried(self) -> list[Attempt]:
        """One sample for each value that the card names for an option, and for a text of no meaning."""
        return [
            self._try(f"{option.flag} {value}", **{option.name: value})
            for option in self.card.options.values()
            if option.name not in self.run.options
            for value in (*named_values(option), *((NO_MEANING,) if is_free(option) else ()))
        ]

    @cached_property
    def prompts_tried(self) -> list[Attempt]:
        """One sample for each kind of prompt."""
        return [self._try(f"A prompt that is {kind}", prompt=prompt) for kind, prompt in PROMPTS.items()]

    @cached_property
    def dtypes_tried(self) -> list[Attempt]:
        """The model loaded in each of several types."""
        attempts = []
        for dtype in dict.fromkeys((self.run.model.dtype, *DTYPES_TRIED)):
            try:
                model = load(self.card, device="cpu", dtype=dtype)
                attempts.append(Attempt(dtype, model=model))
            except ZooError as error:
                attempts.append(Attempt(dtype, error=error))
        return attempts

    @cached_property
    def damages_tried(self) -> list[Attempt]:
        """The model loaded from checkpoints that do not fit."""
        attempts = []
        for damage in damages(self.run.model.checkpoint):
            with tempfile.TemporaryDirectory() as folder:
                error = load_damaged(self.run.model, damage, Path(folder))
            attempts.append(Attempt(f"A checkpoint with {damage}", error=error))
        return attempts

    def _try(self, what: str, **asked: Any) -> Attempt:
        try:
            steps = self.run.steps((0,), **asked)
            require_result(steps, self.card.output)
            require_sound(steps, 1)
        except Exception as error:
            return Attempt(what, error=error)
        return Attempt(what)

    @cached_property
    def scored(self) -> list[Row]:
        """Two of the model's own samples that can be scored: an empty text has no rate."""
        rows = [row for row in self.wide if not isinstance(row, str) or row]
        if len(rows) < 2:
            raise Unclaimed(f"{self.card.id} writes nothing that could be scored")
        return rows[:2]

    @cached_property
    def scores(self) -> Score:
        """The scores of those two."""
        self.require_ability("score", Scorer)
        return self.score(self.scored, (5, 6))

    def score(self, rows: Sequence[Row], seeds: Sequence[int], model: Model | None = None) -> Score:
        """Score samples, as ``zoo score`` will: images in 8 bits, texts as they are."""
        self.require_ability("score", Scorer)
        model = model or self.run.model
        scorer = model.generator
        assert isinstance(scorer, Scorer)
        images = [row for row in rows if isinstance(row, torch.Tensor)]
        data: Any = (127.5 * (torch.stack(images) + 1)).round().to(torch.uint8) if images else rows
        with torch.inference_mode():
            return scorer.log_likelihood(data, Noise(seeds, model.device))

    def batch(self) -> Batch:
        """A batch like the reference's."""
        return self.run.batch(SEEDS)

    def require_ability(self, capability: str, protocol: type) -> None:
        """Leave a check that is about a capability to the models that have it."""
        if capability not in self.card.capabilities or not isinstance(self.generator, protocol):
            raise Unclaimed(f"{self.card.id} has no capability {capability}")


def options_of_runs(card: ModelCard) -> dict[str, Any]:
    """What a card names for the suite's runs; a file of the plugin's package becomes its path."""
    module = next((plugin.module for plugin in installed_plugins() if plugin.name == card.plugin), None)
    folder = package_folder(module) if module and card.check else None

    def in_full(name: str, value: Any) -> Any:
        free = name in card.options and is_free(card.options[name])
        if folder and free and is_inside(value) and (folder / value).is_file():
            return str(folder / value)
        return value

    return {name: in_full(name, value) for name, value in card.check.items()}


def named_values(option: Option) -> list[Any]:
    """The values a card names for an option: its default, its bounds, its enumerated values."""
    if option.type == "boolean":
        return [True, False]
    if option.enum:
        return list(option.enum)
    bounds = (option.minimum, option.maximum)
    if option.type == "integer":
        # A bound may be written between two integers.
        bounds = (
            None if option.minimum is None else math.ceil(option.minimum),
            None if option.maximum is None else math.floor(option.maximum),
        )
    return list(dict.fromkeys(value for value in (option.default, *bounds) if value is not None))


def is_free(option: Option) -> bool:
    """True if an option takes any text."""
    return option.type == "string" and not option.enum
