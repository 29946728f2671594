"""Being loaded: the checkpoint fits, and the process is what it was."""

from __future__ import annotations

from zoo_core.testing.conformance.check import Unclaimed, check
from zoo_core.testing.conformance.fresh import in_a_fresh_process, watch_loading
from zoo_core.testing.conformance.subject import Subject


@check("See what is wrong in full with: zoo run MODEL --debug", quick=True)
def the_model_can_be_loaded(subject: Subject) -> None:
    """The weights are verified, and ``zoo_create_generator`` makes a generator of them.

    Everything else is about a model that is there.
    """
    assert subject.run.model.generator is not None


@check(
    "Set nothing of torch's own, neither while a module is imported nor while a generator is built; "
    "draw initial values from no global generator (build the network on the meta device).",
    needs=(the_model_can_be_loaded,),
)
def loading_leaves_the_process_as_it_was(subject: Subject) -> None:
    """Loading changes no setting of torch, replaces none of its functions, and draws no global random number.

    The caller has other models, and work of his own, in the same process. It is looked at in a fresh one,
    for a module is imported only once.
    """
    in_a_fresh_process(watch_loading, subject.card)


@check(
    "Fill the network with zoo_core.load_weights, which checks all names and shapes.",
    needs=(the_model_can_be_loaded,),
)
def weights_must_fit(subject: Subject) -> None:
    """A checkpoint that lacks a tensor, has one more or one of another shape is refused.

    A tensor that is not there leaves random values in its place, and a model that runs with them looks merely
    bad.
    """
    if not subject.damages_tried:
        raise Unclaimed(f"{subject.card.id} has no file of tensors by name")
    for attempt in subject.damages_tried:
        assert attempt.error is not None, f"{attempt.what} was loaded as if it were whole."


@check("Make batch_size an int of at least 1.", needs=(the_model_can_be_loaded,))
def the_batch_size_it_likes_is_a_number(subject: Subject) -> None:
    """A generator's ``batch_size``, where there is one, is a whole number of at least 1.

    The core splits a run by it.
    """
    size = getattr(subject.generator, "batch_size", 1)
    assert type(size) is int, f"batch_size is {size!r}."
    assert size >= 1, f"batch_size is {size!r}."
