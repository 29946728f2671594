"""Check what is asked of a model, and list the samples to make; needs neither plugin nor weights."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from zoo_core.errors import OptionError, near_misses, some
from zoo_core.manifest.cards import ModelCard
from zoo_core.noise import check_seed


@dataclass(frozen=True)
class Request:
    """One sample to make."""

    index: int
    """Its position in the run, from 0."""
    seed: int
    prompt: str | None
    options: Mapping[str, Any]
    """Every option of the card; a ``per_sample`` option has this sample's value."""


@dataclass(frozen=True)
class Plan:
    """The samples of a run, as a lazy sequence: a million samples take no memory."""

    seeds: Sequence[int]
    prompts: Sequence[str | None]
    """Cycled through, like options given as lists."""
    options: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.seeds)

    def __iter__(self) -> Iterator[Request]:
        return self.part(range(len(self)))

    def part(self, indices: Iterable[int]) -> Iterator[Request]:
        """Yield the samples at these positions; each has the prompt and the options of its own position."""
        for index in indices:
            options = {
                name: value[index % len(value)] if isinstance(value, tuple) else value
                for name, value in self.options.items()
            }
            yield Request(index, self.seeds[index], self.prompts[index % len(self.prompts)], options)

    def to_json(self) -> dict[str, Any]:
        """Return the plan as plain JSON values; :meth:`from_json` is the inverse."""
        seeds = self.seeds
        return {
            "seeds": {"first": seeds[0], "count": len(seeds)} if isinstance(seeds, range) else list(seeds),
            "prompts": list(self.prompts),
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
            if not chosen or not prompts or not all(p is None or isinstance(p, str) for p in prompts):
                raise ValueError("a plan has seeds and prompts")
            values = {n: tuple(v) if isinstance(v, list) else v for n, v in options.items()}
            return cls(chosen, tuple(prompts), values)
        except (KeyError, TypeError, AttributeError, OptionError) as error:
            raise ValueError("not a plan") from error


def make_plan(
    card: ModelCard,
    prompt: str | Sequence[str] | None,
    *,
    n: int | None,
    seed: int | None,
    seeds: Sequence[int] | None,
    options: Mapping[str, Any],
) -> Plan:
    """Check the arguments of ``Model.generate`` against a card and list the samples."""
    prompts = _check_prompts(card, prompt)
    values = _check_options(card, options)
    _check_labels(card, values.get("label"))
    longest = max(len(prompts), *(len(v) for v in values.values() if isinstance(v, tuple)), 1)
    return Plan(_choose_seeds(n, seed, seeds, longest), prompts, values)


def _check_prompts(card: ModelCard, prompt: str | Sequence[str] | None) -> tuple[str | None, ...]:
    prompts = (prompt,) if isinstance(prompt, str) else tuple(prompt or ())
    if prompts and card.prompt == "none":
        raise OptionError(
            f"{card.id} takes no prompt.", f"Leave the prompt out. See its options: zoo show {card.id}"
        )
    if not prompts and card.prompt == "required":
        raise OptionError(f"{card.id} needs a prompt.", f'Give one: zoo run {card.id} "..."')
    for each in prompts:
        if not isinstance(each, str):
            raise OptionError(f"{each!r} is not a prompt.", "Give a string.")
        if not each.isprintable() and any("\ud800" <= c <= "\udfff" for c in each):
            raise OptionError(f"The prompt {each[:40]!r} is not valid UTF-8.", "Give text in UTF-8.")
    return prompts or (None,)


def _check_options(card: ModelCard, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the value of every option of the card: the given one, checked, or the default."""
    for name in given:
        if name not in card.options:
            near = near_misses(name, card.options)
            raise OptionError(
                f"{card.id} has no option {name!r}.",
                f"Did you mean {near[0]!r}?" if near else f"See its options: zoo show {card.id}",
            )
    return {
        name: option.default if given.get(name) is None else option.check(given[name])
        for name, option in card.options.items()
    }


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
