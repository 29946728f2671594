"""A model that is being checked; results that several checks need are computed once."""

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
from zoo_core.samples.images import to_bytes, to_image
from zoo_core.testing.conformance.check import NotApplicable, Subject
from zoo_core.testing.conformance.corruption import corruptions, load_corrupted
from zoo_core.testing.monitors import global_random_state
from zoo_core.testing.runner import Row, Runner, rows_of
from zoo_core.testing.validation import require_result, require_sound

SEEDS = (0, 1, 2)
WIDE = 64
"""Largest batch, for small samples."""
WIDE_VALUES = 2**22
"""Most values of all its images together; the batch of larger images is smaller, but at least 8."""

Named = str | os.PathLike[str] | ModelCard
"""What :func:`zoo_core.load` takes."""


ARBITRARY = "no such thing"
"""A value for options that take any text."""
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
    """A request to a model, and its outcome."""

    what: str
    """The request in words."""
    model: Model | None = None
    """The loaded model, if the request was a dtype."""
    error: Exception | None = None
    """The refusal or failure; an AssertionError if the result is not a valid sample."""


class ModelSubject(Subject):
    """A model that is being checked.

    Args:
        model: A loaded model, or what :func:`zoo_core.load` takes.
        prompt: The prompt of every run; None: the one in the card's ``check``, or a few words if the model
            requires a prompt and the card names none.
        options: Options of every run; None: those in the card's ``check``.
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
        """The runner of the model, which is loaded first if only its name is given."""
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
        """Return a runner for another instance of the model."""
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
        """Number of samples in the largest batch."""
        first = self.rows[0]
        if isinstance(first, torch.Tensor):
            return min(WIDE, max(8, WIDE_VALUES // first.numel()))
        return WIDE

    @cached_property
    def wide_step(self) -> Step:
        """The last step of the largest batch: seeds 0, 1, … together."""
        return self.run.last(range(self.widest))

    @cached_property
    def wide(self) -> list[Row]:
        """The samples of that batch."""
        return rows_of(self.wide_step)

    @cached_property
    def values_tried(self) -> list[Attempt]:
        """One attempt for each value that the card declares for an option, and for an arbitrary text."""
        return [
            self._try(f"{option.flag} {value}", **{option.name: value})
            for option in self.card.options.values()
            if option.name not in self.run.options
            for value in (*named_values(option), *((ARBITRARY,) if is_free(option) else ()))
        ]

    @cached_property
    def prompts_tried(self) -> list[Attempt]:
        """One attempt for each kind of prompt."""
        return [self._try(f"A prompt that is {kind}", prompt=prompt) for kind, prompt in PROMPTS.items()]

    @cached_property
    def dtypes_tried(self) -> list[Attempt]:
        """The model loaded in each of several dtypes."""
        attempts = []
        for dtype in dict.fromkeys((self.run.model.dtype, *DTYPES_TRIED)):
            try:
                model = load(self.card, device="cpu", dtype=dtype)
                attempts.append(Attempt(dtype, model=model))
            except ZooError as error:
                attempts.append(Attempt(dtype, error=error))
        return attempts

    @cached_property
    def corruptions_tried(self) -> list[Attempt]:
        """The model loaded from corrupted checkpoints."""
        attempts = []
        for corruption in corruptions(self.run.model.checkpoint):
            with tempfile.TemporaryDirectory() as folder:
                error = load_corrupted(self.run.model, corruption, Path(folder))
            attempts.append(Attempt(f"A checkpoint with {corruption}", error=error))
        return attempts

    def _try(self, what: str, **request: Any) -> Attempt:
        try:
            steps = self.run.steps((0,), **request)
            require_result(steps, self.card.output)
            require_sound(steps, 1)
        except Exception as error:
            return Attempt(what, error=error)
        return Attempt(what)

    @cached_property
    def scored(self) -> list[Row]:
        """Two of the model's own samples that can be scored; empty texts cannot."""
        rows = [row for row in self.wide if not isinstance(row, str) or row]
        if len(rows) < 2:
            raise NotApplicable(f"{self.card.id} writes nothing that can be scored")
        return rows[:2]

    @cached_property
    def scores(self) -> Score:
        """The scores of those two."""
        self.require_capability("score", Scorer)
        return self.score(self.scored, (5, 6))

    def score(self, rows: Sequence[Row], seeds: Sequence[int], model: Model | None = None) -> Score:
        """Score samples as ``zoo score`` does: images in 8 bits, texts and points unchanged."""
        self.require_capability("score", Scorer)
        model = model or self.run.model
        scorer = model.generator
        assert isinstance(scorer, Scorer)
        tensors = [row for row in rows if isinstance(row, torch.Tensor)]
        data: Any = torch.stack(tensors) if tensors else rows
        if self.card.output == "image":
            data = (127.5 * (data + 1)).round().to(torch.uint8)
        with torch.inference_mode():
            return scorer.log_likelihood(data, Noise(seeds, model.device))

    @cached_property
    def edited(self) -> Step:
        """The last step of one batch that begins with the first of its rows; see :meth:`edit`."""
        return self.edit(SEEDS)

    def edit(self, seeds: Sequence[int]) -> Step:
        """Return the last step of a batch that begins with the first row; a mask keeps its left half."""
        if "input" in self.run.options:
            raise NotApplicable(f"every run of {self.card.id} begins with an image")
        given = self.rows[0]
        assert isinstance(given, torch.Tensor)
        white = torch.full((1, *given.shape[1:]), -1.0)
        white[..., given.shape[2] // 2 :] = 1
        with tempfile.TemporaryDirectory() as folder:
            paths = {"input": f"{folder}/input.png", "mask": f"{folder}/mask.png"}
            for path, pixels in zip(paths.values(), (given, white), strict=True):
                to_image(to_bytes(pixels)).save(path)
            return self.run.last(seeds, **{name: paths[name] for name in paths if name in self.card.options})

    def batch(self) -> Batch:
        """Return a batch equal to that of the reference."""
        return self.run.batch(SEEDS)

    def require_capability(self, capability: str, protocol: type) -> None:
        """Skip the check if the model does not have the capability."""
        if capability not in self.card.capabilities or not isinstance(self.generator, protocol):
            raise NotApplicable(f"{self.card.id} does not declare the capability {capability}")


def options_of_runs(card: ModelCard) -> dict[str, Any]:
    """Return a card's options for the suite's runs; a file in the plugin's package becomes its path."""
    module = next((plugin.module for plugin in installed_plugins() if plugin.name == card.plugin), None)
    folder = package_folder(module) if module and card.check else None
    options = dict(card.check)
    for name, value in card.check.items():
        free = name in card.options and is_free(card.options[name])
        if folder and free and is_inside(value) and (folder / value).is_file():
            options[name] = str(folder / value)
    return options


def named_values(option: Option) -> list[Any]:
    """Return the values that a card declares for an option: its default, its bounds, its choices."""
    if option.type == "boolean":
        return [True, False]
    if option.enum:
        return list(option.enum)
    low, high = option.minimum, option.maximum
    if option.type == "integer":  # whose bounds may be written between two integers
        low = None if low is None else math.ceil(low)
        high = None if high is None else math.floor(high)
    return list(dict.fromkeys(value for value in (option.default, low, high) if value is not None))


def is_free(option: Option) -> bool:
    """Return True if an option takes any text."""
    return option.type == "string" and not option.enum
