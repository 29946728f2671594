"""Options and prompts: declared values work, others are refused with a remedy."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any, NoReturn
from unittest import mock

from zoo_core.errors import OptionError, ZooError
from zoo_core.manifest.cards import Option
from zoo_core.protocols import Batch
from zoo_core.testing.conformance.check import NotApplicable, check, first_line
from zoo_core.testing.conformance.corruption import is_wrapped
from zoo_core.testing.conformance.loading import mismatched_weights_are_refused, the_model_loads
from zoo_core.testing.conformance.running import any_number_of_samples_can_be_generated
from zoo_core.testing.conformance.subject import Attempt, ModelSubject, named_values


@check("Give every option a description in the manifest.", needs=(the_model_loads,))
def options_have_descriptions(subject: ModelSubject) -> None:
    """Every option has a description.

    ``zoo run MODEL --help`` and ``zoo show`` print it; there is no other help.
    """
    mute = [option.name for option in subject.card.options.values() if not option.description]
    assert not mute, f"Options without a description: {', '.join(mute)}."


@check(
    "Support the whole range that the manifest declares, or declare a smaller one; refuse a value"
    " that this checkpoint does not support with an OptionError.",
    needs=(any_number_of_samples_can_be_generated,),
)
def every_declared_option_value_works(subject: ModelSubject) -> None:
    """Each option works at its default, its bounds and each of its choices; any other text is accepted or
    refused.

    A value that does not fit this model or the other options is refused with an OptionError. Index errors
    happen at the bounds, and users try the bounds first.
    """
    run = subject.run
    for option in subject.card.options.values():
        for value in named_values(option):
            run.model.plan(run.prompt, seed=0, **{option.name: value})
    for attempt in subject.values_tried:
        _require_sample_or_refusal(attempt)


@check(
    "Leave the checking to Option.check: use zoo_core.Option unchanged, in zoo_list_models too.",
    needs=(the_model_loads,),
)
def invalid_options_are_refused(subject: ModelSubject) -> None:
    """A value that the card does not allow, just out of bounds or of another type, never reaches the
    generator.

    A generator need not repeat the checks that its manifest declares.
    """
    run = subject.run
    with mock.patch.object(run.model, "generator", SimpleNamespace(generate=_refuse_batch)):
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


@check("Give a card its options as a plain dict.", needs=(the_model_loads,))
def unknown_options_are_refused(subject: ModelSubject) -> None:
    """An option that the card does not declare is refused, not ignored.

    Otherwise a typo in an option's name looks as if the option had no effect.
    """
    run = subject.run
    try:
        run.model.plan(run.prompt, seed=0, **{**run.options, "an_option_that_no_model_has": 1})
    except OptionError:
        return
    raise AssertionError("An unknown option was not refused.")


@check(
    "Truncate a prompt that does not fit the context, or refuse it with an OptionError.",
    needs=(any_number_of_samples_can_be_generated,),
)
def any_prompt_is_accepted_or_refused(subject: ModelSubject) -> None:
    """An empty prompt, a very long one and prompts in any script give a sample or an OptionError.

    Prompts come from files with thousands of lines; one bad line must not end the run with a traceback.
    """
    if subject.card.prompt == "none":
        raise NotApplicable(f"{subject.card.id} takes no prompt")
    for attempt in subject.prompts_tried:
        _require_sample_or_refusal(attempt)


@check(
    "Raise zoo_core.OptionError or zoo_core.WeightsError with two sentences: what is wrong, and what to do.",
    needs=(
        every_declared_option_value_works,
        any_prompt_is_accepted_or_refused,
        mismatched_weights_are_refused,
    ),
)
def errors_include_a_remedy(subject: ModelSubject) -> None:
    """Every refusal says in one line what is wrong and in another what to do.

    The user sees only these two lines. The check tries invalid options, prompts, dtypes and checkpoints.
    """
    attempts = [
        *subject.values_tried,
        *(subject.prompts_tried if subject.card.prompt != "none" else ()),
        *subject.dtypes_tried,
        *subject.corruptions_tried,
    ]
    for attempt in attempts:
        error = attempt.error
        if error is None:
            continue
        assert isinstance(error, ZooError), f"{attempt.what}: {type(error).__name__}: {error}"
        assert not is_wrapped(error), (
            f"{attempt.what}: the plugin failed instead of refusing: {error.message}"
        )
        for line in (error.message, error.remedy):
            assert line.strip(), f"{attempt.what}: no message or no remedy: {error.message!r}"
            assert len(line.splitlines()) == 1, f"{attempt.what}: {line!r} is not one line."
        assert error.message != error.remedy, f"{attempt.what}: the remedy repeats {error.message!r}."


def _require_sample_or_refusal(attempt: Attempt) -> None:
    error = attempt.error
    if error is None or isinstance(error, OptionError):
        return
    raise AssertionError(f"{attempt.what}: {first_line(error)}") from error


def _unfit_values(option: Option) -> list[Any]:
    """Return values that an option must refuse: those just out of bounds, and one of no valid type."""
    unfit: list[Any] = [object()]
    for bound, toward in ((option.minimum, -math.inf), (option.maximum, math.inf)):
        if bound is not None:
            unfit.append(_beside(option, bound, toward))
    if option.enum:
        unfit.append("".join(option.enum) + "?")
    return unfit


def _beside(option: Option, bound: float, toward: float) -> float:
    """Return the first value beyond a bound."""
    if option.type == "integer":
        return math.floor(bound) + 1 if toward > 0 else math.ceil(bound) - 1
    return math.nextafter(bound, toward)


def _refuse_batch(batch: Batch) -> NoReturn:
    raise AssertionError(f"the generator got {batch.options}.")
