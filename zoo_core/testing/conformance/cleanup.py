"""Cleanup: a run leaves nothing behind, whether it finished or was cancelled."""

from __future__ import annotations

import gc
import weakref

from zoo_core.plugins.torch_guard import torch_functions
from zoo_core.protocols import Batch
from zoo_core.testing.conformance.check import check
from zoo_core.testing.conformance.running import (
    a_run_ends_with_a_result,
    any_number_of_samples_can_be_generated,
)
from zoo_core.testing.conformance.seeds import global_random_state_is_not_used
from zoo_core.testing.conformance.subject import SEEDS, ModelSubject
from zoo_core.testing.monitors import (
    older_objects_ignored,
    require_functions,
    require_settings,
    tensor_bytes,
    torch_settings,
)
from zoo_core.testing.runner import advance, close, drive, start
from zoo_core.testing.validation import require_alike


@check(
    "Copy what you change: dict(vars(batch.options)), list(batch.prompts).", needs=(a_run_ends_with_a_result,)
)
def the_batch_is_not_modified(subject: ModelSubject) -> None:
    """A run does not modify the options, prompts and seeds of its batch.

    The core builds the next batch and the records of the samples from them; a change would make the records
    wrong.
    """
    batch = subject.batch()
    before = (dict(vars(batch.options)), batch.prompts, batch.noise.seeds)
    for _ in drive(subject.generator, batch):
        pass
    after = (dict(vars(batch.options)), batch.prompts, batch.noise.seeds)
    assert after == before, f"The run changed the batch from {before} to {after}."


@check(
    "Release images after they are yielded; keep results in no list, cache or attribute.",
    needs=(any_number_of_samples_can_be_generated,),
)
def memory_does_not_grow_with_the_number_of_samples(subject: ModelSubject) -> None:
    """A batch is released once it is done: six batches hold no more memory than two.

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
    assert held[1] <= held[0], f"Four batches left {held[1] - held[0]} bytes of tensors in memory."


@check(
    "End the generator when it is closed, and hold the batch and its tensors in local variables only.",
    needs=(memory_does_not_grow_with_the_number_of_samples,),
)
def cancelling_a_run_frees_its_memory(subject: ModelSubject) -> None:
    """Closing the iterator cancels the run, which then releases its batch and its tensors.

    After Ctrl-C in a notebook, or when a client of the server disconnects, the next run needs that memory.
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
        assert advance(steps) is None or not hasattr(steps, "close"), "The run continues after it was closed."
        del steps, batch
        gc.collect()
        assert alive() is None, "The batch of a cancelled run is still in memory."
        left = tensor_bytes() - before
    assert left <= 0, f"A cancelled run left {left} bytes of tensors in memory."


@check(
    "Start every call of generate() from a clean state, also after a cancelled run.",
    needs=(global_random_state_is_not_used, cancelling_a_run_frees_its_memory),
)
def cancelling_a_run_does_not_affect_the_next(subject: ModelSubject) -> None:
    """A cancelled run does not change the samples of the next run.

    State left over from an unfinished run is very hard to debug.
    """
    steps = start(subject.generator, subject.run.batch((7, 8)))
    advance(steps)
    close(steps)
    require_alike(subject.run.rows(SEEDS), subject.rows, "A batch after a cancelled run")


@check(
    "Change no global setting of torch; if you must, restore it before each yield.",
    needs=(a_run_ends_with_a_result,),
)
def torch_settings_are_not_changed(subject: ModelSubject) -> None:
    """Torch's global settings and functions are unchanged after every step and after the run.

    A default dtype or a number of threads that one model sets applies to everything else in the process.
    """
    before, functions = torch_settings(), torch_functions()
    for step in drive(subject.generator, subject.batch()):
        require_settings(before, f"after step {step.index}")
    require_settings(before, "after the run")
    require_functions(functions)
