"""Options and prompts: what the card allows works, what it does not is refused, with a remedy."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

from zoo_core.errors import OptionError, ZooError
from zoo_core.manifest.cards import Option
from zoo_core.protocols import Batch, Generator, Step
from zoo_core.running.model import Model
from zoo_core.testing.conformance.check import Unclaimed, check, first_line
from zoo_core.testing.conformance.damage import is_contained
from zoo_core.testing.conformance.loading import the_model_can_be_loaded, weights_must_fit
from zoo_core.testing.conformance.running import any_number_of_samples_can_be_made
from zoo_core.testing.conformance.subject import Attempt, Subject, named_values


@check("Give every option a description in the manifest.", needs=(the_model_can_be_loaded,))
def options_explain_themselves(subject: Subject) -> None:
    """Every option has a description.

    It is the help that ``zoo run MODEL --help`` and ``zoo show`` give, and there is no other.
    """
    mute = [option.name for option in subject.card.options.values() if not option.description]
    assert not mute, f"Options without a description: {', '.join(mute)}."


@check(
    "Make the option work over the whole range that the manifest names, or name a narrower one; what does "
    "not suit this checkpoint, refuse with an OptionError.",
    needs=(any_number_of_samples_can_be_made,),
)
def every_value_the_card_names_can_be_used(subject: Subject) -> None:
    """Each option runs at its default, its bounds and its enumerated values; a free text is used or refused.

    A value that does not fit this model, or the other options, is refused with an OptionError. The bounds are
    where an index is out of range, and what a user tries first to see what an option does.
    """
    run = subject.run
    for option in subject.card.options.values():
        for value in named_values(option):
            run.model.plan(run.prompt, seed=0, **{option.name: value})
    for attempt in subject.values_tried:
        _require_sample_or_refusal(attempt)


@check(
    "Let Option.check decide: use zoo_core.Option as it is, in zoo_list_models too.",
    needs=(the_model_can_be_loaded,),
)
def options_out_of_range_never_reach_the_generator(subject: Subject) -> None:
    """What the card does not allow, a value just outside of its bounds or of another type, is refused before.

    A generator need not check what its manifest has said already.
    """
    run = subject.run
    with _untouchable(run.model):
        for option in subject.card.options.values():
            for value in _unfit_values(option):
                what = f"{option.flag} {value!r}"
                try:
                    list(run.model.generate(run.prompt, seed=0, **{**run.options, option.name: value}))
                except OptionError:
                    continue
                except ZooError as error:
                    raise AssertionError(f"{what} was not refused: {error.message}") from error
                raise AssertionError(f"{what} was not refused.")


@check("Give a card a plain dict of its options.", needs=(the_model_can_be_loaded,))
def unknown_options_are_refused(subject: Subject) -> None:
    """An option that the card does not name is refused, not ignored.

    A slip in a name would otherwise look as if the option had no effect.
    """
    run = subject.run
    try:
        run.model.plan(run.prompt, seed=0, **{**run.options, "an_option_that_no_model_has": 1})
    except OptionError:
        return
    raise AssertionError("An option that the card does not name was not refused.")


@check(
    "Cut or refuse a prompt that does not fit the context, with an OptionError that says so.",
    needs=(any_number_of_samples_can_be_made,),
)
def any_prompt_is_answered_or_refused(subject: Subject) -> None:
    """An empty prompt, a very long one, one in any script makes a sample or is refused by OptionError.

    Prompts come from files of thousands; one of them must not end the run with a traceback.
    """
    if subject.card.prompt == "none":
        raise Unclaimed(f"{subject.card.id} takes no prompt")
    for attempt in subject.prompts_tried:
        _require_sample_or_refusal(attempt)


@check(
    "Raise zoo_core.OptionError or zoo_core.WeightsError with two sentences: what is wrong, and what to do.",
    needs=(every_value_the_card_names_can_be_used, any_prompt_is_answered_or_refused, weights_must_fit),
)
def errors_name_their_remedy(subject: Subject) -> None:
    """Whatever the plugin refuses, it says in one line what is wrong and in another what to do.

    These two lines are all that a user sees. Options, prompts, types and checkpoints that do not fit are
    tried.
    """
    attempts = [
        *subject.values_tried,
        *(subject.prompts_tried if subject.card.prompt != "none" else ()),
        *subject.dtypes_tried,
        *subject.damages_tried,
    ]
    for attempt in attempts:
        error = attempt.error
        if error is None:
            continue
        assert isinstance(error, ZooError), f"{attempt.what}: {type(error).__name__}: {error}"
        assert not is_contained(error), (
            f"{attempt.what}: {error.message} That is how the core reports a failure, not a refusal."
        )
        for line in (error.message, error.remedy):
            assert line.strip(), f"{attempt.what}: refused without a remedy: {error.message!r}"
            assert len(line.splitlines()) == 1, f"{attempt.what}: {line!r} is not one line."
        assert error.message != error.remedy, f"{attempt.what}: the remedy only repeats {error.message!r}."


def _require_sample_or_refusal(attempt: Attempt) -> None:
    error = attempt.error
    if error is None or isinstance(error, OptionError):
        return
    raise AssertionError(f"{attempt.what}: {first_line(error)}") from error


def _unfit_values(option: Option) -> list[Any]:
    """Values that an option must refuse: those just outside, and what is of no type at all."""
    unfit: list[Any] = [object()]
    if option.minimum is not None:
        unfit.append(_beside(option, option.minimum, -math.inf))
    if option.maximum is not None:
        unfit.append(_beside(option, option.maximum, math.inf))
    if option.enum:
        unfit.append("".join(option.enum) + "?")
    return unfit


def _beside(option: Option, bound: float, toward: float) -> float:
    """The first value beyond a bound."""
    if option.type == "integer":
        return math.floor(bound) + 1 if toward > 0 else math.ceil(bound) - 1
    return math.nextafter(bound, toward)


class _Untouchable:
    """A generator that must not be called."""

    def generate(self, batch: Batch) -> Iterator[Step]:
        raise AssertionError(f"it reached the generator as {batch.options}.")


@contextmanager
def _untouchable(model: Model) -> Iterator[None]:
    """Have nobody run the model's generator."""
    generator = model.generator
    model.generator = cast(Generator, _Untouchable())
    try:
        yield
    finally:
        model.generator = generator
