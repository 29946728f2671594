"""Check what is asked of a model, and list the samples to make; needs neither plugin nor weights."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OptionError, near_misses, short_repr, some
from zoo_core.manifest.cards import ModelCard, Option
from zoo_core.noise import check_seed
from zoo_core.protocols import Prompt
from zoo_core.running.conversation import check_conversation

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Request:
    """One sample to make."""

    index: int
    """Its position in the run, from 0."""
    seed: int
    prompt: Prompt | None
    options: Mapping[str, Any]
    """Every option of the card; a ``per_sample`` option has this sample's value."""
    latents: torch.Tensor | None = field(default=None, compare=False)
    """The noise to begin with in place of the seed's own: (…) standard normals."""


@dataclass(frozen=True)
class PromptLine:
    """A prompt with a seed and options of its own: a line of ``--prompts``."""

    prompt: Prompt | None
    seed: int | None = None
    """The seed of the prompt's first sample; those of the next ones count up."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Options that differ from those of the run."""
    place: str = ""
    """Where it was read, for messages: ``prompts.jsonl, line 3``."""

    def to_json(self) -> Any:
        """Return a text as it is, else a JSON object; :meth:`from_json` is the inverse, but for ``place``."""
        prompt = self.prompt if isinstance(self.prompt, str | None) else list(self.prompt)
        if self.seed is None and not self.options and isinstance(prompt, str | None):
            return prompt
        return {"prompt": prompt, "seed": self.seed, "options": dict(self.options)}

    @classmethod
    def from_json(cls, line: Any) -> PromptLine:
        """Read what :meth:`to_json` wrote; ValueError, KeyError or OptionError if it is something else."""
        if line is None or isinstance(line, str):
            return cls(line)
        prompt, seed, options = line["prompt"], line["seed"], line["options"]
        if not isinstance(prompt, str | None):
            prompt = check_conversation(prompt)
        return cls(prompt, None if seed is None else check_seed(seed), {**options})


@dataclass(frozen=True)
class Plan:
    """The samples of a run, as a lazy sequence: a million samples take no memory."""

    seeds: Sequence[int]
    prompts: Sequence[PromptLine]
    """Cycled through, like options given as lists."""
    options: Mapping[str, Any]
    latents: torch.Tensor | None = field(default=None, compare=False)
    """(n, …), a row per sample."""

    def __len__(self) -> int:
        return len(self.seeds)

    def __iter__(self) -> Iterator[Request]:
        return self.part(range(len(self)))

    def part(self, indices: Iterable[int]) -> Iterator[Request]:
        """Yield the samples at these positions; each has the prompt and the options of its own position."""
        for index in indices:
            turn, place = divmod(index, len(self.prompts))
            line = self.prompts[place]
            options = {
                name: value[index % len(value)] if isinstance(value, tuple) else value
                for name, value in self.options.items()
            }
            seed = self.seeds[index] if line.seed is None else line.seed + turn
            latents = None if self.latents is None else self.latents[index]
            yield Request(index, seed, line.prompt, {**options, **line.options}, latents)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values, without latents; :meth:`from_json` is the inverse."""
        seeds = self.seeds
        return {
            "seeds": {"first": seeds[0], "count": len(seeds)} if isinstance(seeds, range) else list(seeds),
            "prompts": [line.to_json() for line in self.prompts],
            "options": {
                name: list(value) if isinstance(value, tuple) else value
                for name, value in self.options.items()
            },
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Plan:
        """Read what :meth:`to_json` wrote.

        Raises:
            ValueError: It is something else.
        """
        try:
            seeds, prompts, options = (document[name] for name in ("seeds", "prompts", "options"))
            chosen = (
                range(seeds["first"], seeds["first"] + seeds["count"])
                if isinstance(seeds, dict)
                else tuple(map(check_seed, seeds))
            )
            if not chosen or not prompts:
                raise ValueError("a plan has seeds and prompts")
            values = {n: tuple(v) if isinstance(v, list) else v for n, v in options.items()}
            return cls(chosen, tuple(map(PromptLine.from_json, prompts)), values)
        except (KeyError, TypeError, AttributeError, OptionError) as error:
            raise ValueError("not a plan") from error


def make_plan(
    card: ModelCard,
    prompt: Prompt | Sequence[Prompt | PromptLine] | None = None,
    *,
    n: int | None = None,
    seed: int | None = None,
    seeds: Sequence[int] | None = None,
    latents: torch.Tensor | None = None,
    options: Mapping[str, Any],
) -> Plan:
    """Check the arguments of ``Model.generate`` against a card and list the samples."""
    if latents is not None:
        n = _count(latents, n if seeds is None else len(seeds))
    prompts = _check_prompts(card, prompt)
    values = _check_options(card, options)
    _check_labels(card, values.get("label"))
    longest = max(len(prompts), *(len(v) for v in values.values() if isinstance(v, tuple)), 1)
    if seeds is not None and (line := next((line for line in prompts if line.seed is not None), None)):
        raise OptionError(f"Seeds were given twice: {line.place} has one too.", "Leave out --seeds.")
    return Plan(_choose_seeds(n, seed, seeds, longest), prompts, values, latents)


def _check_prompts(
    card: ModelCard, prompt: Prompt | Sequence[Prompt | PromptLine] | None
) -> tuple[PromptLine, ...]:
    is_one = isinstance(prompt, str) or (prompt and isinstance(prompt[0], Mapping))
    prompts: tuple[Any, ...] = (prompt,) if is_one else tuple(prompt or ())
    if prompts and card.prompt == "none":
        raise OptionError(
            f"{card.id} takes no prompt.", f"Leave the prompt out. See its options: zoo show {card.id}"
        )
    if not prompts and card.prompt == "required":
        raise OptionError(f"{card.id} needs a prompt.", f'Give one: zoo run {card.id} "..."')
    return tuple(_check_line(card, each) for each in prompts) or (PromptLine(None),)


def _check_line(card: ModelCard, line: Any) -> PromptLine:
    if not isinstance(line, PromptLine):
        return PromptLine(_check_prompt(card, line))
    try:
        options = {name: _option(card, name).check(value) for name, value in line.options.items()}
        if several := next((name for name, value in options.items() if isinstance(value, tuple)), None):
            raise OptionError(f"The option {several!r} has several values.", "Give each line one.")
        _check_labels(card, options.get("label"))
        seed = None if line.seed is None else check_seed(line.seed)
        return PromptLine(_check_prompt(card, line.prompt), seed, options, line.place)
    except OptionError as error:
        if line.place:
            raise OptionError(f"{line.place}: {error.message}", error.remedy) from None
        raise


def _check_prompt(card: ModelCard, prompt: Any) -> Prompt:
    if isinstance(prompt, Sequence) and not isinstance(prompt, str):
        if "chat" not in card.capabilities:
            raise OptionError(
                f"{card.id} cannot answer a conversation.",
                "Give a text, or a model with the capability chat.",
            )
        return check_conversation(prompt)
    if not isinstance(prompt, str):
        raise OptionError(f"{short_repr(prompt)} is not a prompt.", "Give a string, or a list of messages.")
    if not prompt.isprintable() and any("\ud800" <= c <= "\udfff" for c in prompt):
        raise OptionError(f"The prompt {prompt[:40]!r} is not valid UTF-8.", "Give text in UTF-8.")
    return prompt


def _check_options(card: ModelCard, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every option of the card: the given one, checked, or the default."""
    for name in given:
        _option(card, name)
    return {
        name: option.default if given.get(name) is None else option.check(given[name])
        for name, option in card.options.items()
    }


def _option(card: ModelCard, name: str) -> Option:
    if name not in card.options:
        near = near_misses(name, card.options)
        raise OptionError(
            f"{card.id} has no option {short_repr(name)}.",
            f"Did you mean {near[0]!r}?" if near else f"See its options: zoo show {card.id}",
        )
    return card.options[name]


def _check_labels(card: ModelCard, given: Any) -> None:
    """Refuse a label that the model has not; if its classes are not known yet, its generator does."""
    wanted = [label for label in (given if isinstance(given, tuple) else (given,)) if type(label) is int]
    if not wanted:
        return
    from zoo_core.weights.labels import labels_of

    known = labels_of(card)
    wrong = next((label for label in wanted if known and not 0 <= label < known.count), None)
    if known and wrong is not None:
        names = f" ({some(known.names)})" if known.names and not known.names[0].isdecimal() else ""
        raise OptionError(
            f"--label {wrong}: this model has {known.count} classes.", f"Give 0 to {known.count - 1}{names}."
        )


def _count(latents: torch.Tensor, asked: int | None) -> int:
    """Return the number of samples that latents ask for."""
    import torch

    if not isinstance(latents, torch.Tensor) or not latents.is_floating_point() or latents.ndim < 2:
        raise OptionError("latents: not a tensor of floats (n, …).", "Give torch.randn(n, …) or the like.")
    if not torch.isfinite(latents).all():
        raise OptionError("latents: NaN or infinity.", "Give standard normals.")
    if asked not in (None, len(latents)):
        raise OptionError(f"latents: {len(latents)} rows for {asked} samples.", "Give a row for each sample.")
    return len(latents)


def _choose_seeds(
    n: int | None, seed: int | None, seeds: Sequence[int] | None, longest: int
) -> Sequence[int]:
    if n is not None and (isinstance(n, bool) or not isinstance(n, int) or n < 1):
        raise OptionError(f"{n!r} is not a number of samples.", "Give a whole number of at least 1.")
    if seeds is not None:
        if seed is not None or (n is not None and n != len(seeds)):
            raise OptionError("Seeds were given twice.", "Give either seed and n, or seeds.")
        if not len(seeds):
            raise OptionError("The list of seeds is empty.", "Give at least one, such as 0 or 0,1,4-6.")
        for each in seeds if not isinstance(seeds, range) else (seeds[0], seeds[-1]):
            check_seed(each)
        return seeds
    first = secrets.randbelow(2**32) if seed is None else check_seed(seed)
    last = first + (n or longest) - 1
    check_seed(last)
    return range(first, last + 1)
