"""What a run leaves behind: nothing, whether it came to its end or was cancelled."""

from __future__ import annotations

import gc
import weakref

from zoo_core.plugins.torch_guard import torch_functions
from zoo_core.protocols import Batch
from zoo_core.testing.conformance.check import check
from zoo_core.testing.conformance.running import a_run_ends_with_a_result, any_number_of_samples_can_be_made
from zoo_core.testing.conformance.seeds import global_random_state_is_not_used
from zoo_core.testing.conformance.subject import SEEDS, Subject
from zoo_core.testing.driving import advance, close, drive, start
from zoo_core.testing.soundness import require_alike
from zoo_core.testing.watching import (
    older_objects_ignored,
    require_functions,
    require_settings,
    tensor_bytes,
    torch_settings,
)


@check(
    "Copy what you change: dict(vars(batch.options)), list(batch.prompts).", needs=(a_run_ends_with_a_result,)
)
def the_batch_is_left_as_it_was(subject: Subject) -> None:
    """A batch belongs to the core: its options, prompts and seeds are only read.

    The next batch of the run and the records of its samples are made from them, and would tell of another
    sample.
    """
    batch = subject.batch()
    before = (dict(vars(batch.options)), batch.prompts, batch.noise.seeds)
    for _ in drive(subject.generator, batch):
        pass
    after = (dict(vars(batch.options)), batch.prompts, batch.noise.seeds)
    assert after == before, f"The batch was {before}; the run made it {after}."


@check(
    "Let images go once they are yielded; keep results in no list, cache or attribute.",
    needs=(any_number_of_samples_can_be_made,),
)
def memory_does_not_grow_with_the_number_of_samples(subject: Subject) -> None:
    """Nothing of a batch is kept once it is done: after six batches as much is alive as after two.

    A run of a million samples must fit wherever a run of ten does.
    """
    run = subject.run
    held = []
    with older_objects_ignored():
        samples = run.model.generate(run.prompt, n=12, seed=0, batch_size=2, **run.options)
        for number, sample in enumerate(samples, start=1):
            del sample
            if number in (4, 12):
                held.append(tensor_bytes())
    assert held[1] <= held[0], f"Four batches left {held[1] - held[0]} bytes of tensors behind."


@check(
    "Let the generator end where it is closed, and hold its batch and its tensors in local variables alone.",
    needs=(memory_does_not_grow_with_the_number_of_samples,),
)
def closing_a_run_frees_it(subject: Subject) -> None:
    """Cancelling is closing the iterator: the run stops there and lets go of its batch and its tensors.

    Ctrl-C in a notebook, or a server whose reader has gone, is followed by the next run: with the memory of
    the last one still held, that one may not fit.
    """
    with older_objects_ignored():
        for _ in drive(subject.generator, subject.batch()):
            pass
        before = tensor_bytes()
        batch = subject.batch()
        alive: weakref.ref[Batch] = weakref.ref(batch)
        steps = start(subject.generator, batch)
        advance(steps)
        close(steps)
        assert advance(steps) is None or not hasattr(steps, "close"), "The run goes on after its end."
        del steps, batch
        gc.collect()
        assert alive() is None, "The batch of a run that was closed is still held."
        left = tensor_bytes() - before
    assert left <= 0, f"A run that was closed left {left} bytes of tensors behind."


@check(
    "Begin every call of generate() afresh, also after one that did not come to its end.",
    needs=(global_random_state_is_not_used, closing_a_run_frees_it),
)
def closing_a_run_leaves_nothing_behind(subject: Subject) -> None:
    """A run that was cancelled does not change the next one.

    Half a state that shines through in the next sample is the hardest mistake to find again.
    """
    steps = start(subject.generator, subject.run.batch((7, 8)))
    advance(steps)
    close(steps)
    require_alike(subject.run.rows(SEEDS), subject.rows, "A batch made after a run that was closed")


@check(
    "Set nothing of torch's own; where it must be, set it back before each yield.",
    needs=(a_run_ends_with_a_result,),
)
def torch_is_left_as_it_was(subject: Subject) -> None:
    """Torch's global settings and functions belong to the caller, between two steps as after the last.

    A default dtype or a number of threads that one model sets is what all others in the process compute with.
    """
    before, functions = torch_settings(), torch_functions()
    for step in drive(subject.generator, subject.batch()):
        require_settings(before, f"after step {step.index}")
    require_settings(before, "after the run")
    require_functions(functions)
