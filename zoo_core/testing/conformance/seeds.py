"""Seeds: a sample depends on its seed, not on its batch, its position or earlier runs."""

from __future__ import annotations

import math
from typing import Any

from zoo_core.manifest.cards import Option
from zoo_core.testing.conformance.check import NotApplicable, check
from zoo_core.testing.conformance.running import any_number_of_samples_can_be_generated
from zoo_core.testing.conformance.subject import SEEDS, ModelSubject, named_values
from zoo_core.testing.monitors import global_random_state, global_random_state_required
from zoo_core.testing.runner import Runner, row_of
from zoo_core.testing.validation import difference, require_alike


@check(
    "Keep no state between calls of generate() that changes the result.",
    needs=(any_number_of_samples_can_be_generated,),
)
def the_same_seed_gives_the_same_sample(subject: ModelSubject) -> None:
    """Generating a batch twice gives the same samples.

    A seed identifies a sample. If it meant something else the second time, no sample could be shared,
    replayed or resumed.
    """
    with global_random_state(0):
        require_alike(subject.run.rows(SEEDS), subject.rows, "The same batch, generated again,")


@check(
    "Start from batch.noise: its row i is the random stream of sample i.",
    needs=(any_number_of_samples_can_be_generated,),
)
def different_seeds_give_different_samples(subject: ModelSubject) -> None:
    """Noise comes from each sample's own random stream, so different seeds give different samples.

    Otherwise a run of a thousand samples is one sample a thousand times.
    """
    rows = subject.wide[:8]
    if isinstance(rows[0], str):
        assert len(set(rows)) > 1, f"Eight seeds all gave {rows[0]!r}."
        return
    for i, one in enumerate(rows):
        for j, other in enumerate(rows[:i]):
            assert difference(one, other) > 0, f"Seeds {j} and {i} gave the same {subject.card.output}."


@check(
    "Draw random numbers from batch.noise only, never from torch.randn, numpy.random or random.",
    needs=(the_same_seed_gives_the_same_sample,),
)
def global_random_state_is_not_used(subject: ModelSubject) -> None:
    """All random numbers come from ``batch.noise``, none from a global generator.

    Any other code in the process may draw from a global generator; the sample would change, and a replay
    would not match.
    """
    made = []
    for state in (1, 2):
        with global_random_state(state):
            made.append(subject.run.rows(SEEDS))
    require_alike(made[1], made[0], "The same batch with other global seeds")


@check(
    "Neither seed a global generator nor draw from one; a torch.Generator of your own is fine.",
    needs=(global_random_state_is_not_used,),
)
def global_random_state_is_not_changed(subject: ModelSubject) -> None:
    """A run neither draws from the global generators nor seeds them.

    They belong to the caller: a notebook that seeds torch and then generates an image must continue as if it
    had not.
    """
    with global_random_state_required("The run"):
        subject.run.steps(SEEDS)


@check(
    "Compute row i from stream i only: use no batch index, no first row and no shared stream.",
    needs=(global_random_state_is_not_used,),
)
def the_order_of_seeds_does_not_matter(subject: ModelSubject) -> None:
    """A sample does not depend on its position in the batch.

    ``--seeds 4,2`` gives the same samples as ``--seeds 2,4``, and an interrupted run resumes with the seeds
    that are left.
    """
    reverse = subject.run.rows(SEEDS[::-1])[::-1]
    require_alike(reverse, subject.rows, "The batch in reverse order")


@check(
    "Normalise within each sample, not over the batch: batch statistics are for training only.",
    needs=(the_order_of_seeds_does_not_matter,),
)
def a_sample_does_not_depend_on_its_batch(subject: ModelSubject) -> None:
    """Sample i is the same, up to 1e-4, alone, in a batch of 5 or of many, and however the core splits a run.

    The batch size depends on the memory of the machine. If it changed the samples, two machines would give
    different ones.
    """
    run, wide = subject.run, subject.wide
    for n in (1, 5):
        require_alike(run.rows(range(n)), wide[:n], f"A batch of {n}, compared with a batch of {len(wide)},")
    for size in (1, 2, 5):
        samples = run.model.generate(run.prompt, n=5, seed=0, batch_size=size, **run.options)
        rows = [row_of(sample) for sample in samples]
        require_alike(rows, wide[:5], f"A run of 5 in batches of {size}")


@check(
    "Use prompt i for row i only, and mask the padding of shorter prompts.",
    needs=(a_sample_does_not_depend_on_its_batch,),
)
def prompts_in_a_batch_do_not_mix(subject: ModelSubject) -> None:
    """Row i depends on prompt i only, not on the other prompts of the batch.

    A run over a file of prompts puts prompts of different lengths into one batch.
    """
    if subject.card.prompt == "none":
        raise NotApplicable(f"{subject.card.id} takes no prompt")
    run = subject.run
    prompts = [run.prompt or "one", "another, somewhat longer prompt"]
    together = run.rows((0, 1), prompt=prompts)
    for i, prompt in enumerate(prompts):
        require_alike(run.rows((i,), prompt=prompt), together[i : i + 1], f"Prompt {i} alone")


@check(
    "Use value i of the option for row i: the option is a tuple of batch.n values.",
    needs=(a_sample_does_not_depend_on_its_batch,),
)
def per_sample_options_do_not_mix(subject: ModelSubject) -> None:
    """Row i depends on value i of an option declared ``per_sample``, not on the other values of the batch.

    ``--label 0-9`` generates ten classes in one batch.
    """
    run = subject.run
    pairs = {
        option.name: values
        for option in subject.card.options.values()
        if option.per_sample and len(values := _accepted(run, option)) > 1
    }
    if not pairs:
        raise NotApplicable(f"{subject.card.id} has no per-sample option")
    for name, values in pairs.items():
        together = run.rows((0,) * len(values), **{name: values})
        for i, value in enumerate(values):
            alone = run.rows((0,), **{name: value})
            require_alike(alone, together[i : i + 1], f"{name} = {value!r} alone")


def _accepted(run: Runner, option: Option) -> list[Any]:
    """Return values of an option that the model accepts: those on its card, and the minimum plus one."""
    values = named_values(option)
    if option.type == "integer" and option.minimum is not None:
        values.append(math.ceil(option.minimum) + 1)
    accepted = []
    for value in dict.fromkeys(values):
        try:
            run.steps((0,), **{option.name: value})
        except Exception:
            continue
        accepted.append(value)
    return accepted
