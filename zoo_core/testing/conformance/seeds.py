"""A sample is a property of its seed: not of its batch, its place in it, or what was made before."""

from __future__ import annotations

import math
from typing import Any

from zoo_core.manifest.cards import Option
from zoo_core.testing.conformance.check import Unclaimed, check
from zoo_core.testing.conformance.running import any_number_of_samples_can_be_made
from zoo_core.testing.conformance.subject import SEEDS, Subject, named_values
from zoo_core.testing.driving import Runner
from zoo_core.testing.soundness import difference, require_alike
from zoo_core.testing.watching import global_random_state, global_random_values


@check(
    "Keep nothing between two calls of generate() that changes what is computed.",
    needs=(any_number_of_samples_can_be_made,),
)
def the_same_seed_makes_the_same_sample(subject: Subject) -> None:
    """Making a batch twice gives the same samples: nothing is left over from the run before.

    A seed is how a sample is named. If the name means something else the second time, no sample can be shown
    to anybody, made again, or resumed.
    """
    with global_random_state(0):
        require_alike(subject.run.rows(SEEDS), subject.rows, "The same batch made again")


@check(
    "Start from batch.noise: its row i is the stream of sample i.", needs=(any_number_of_samples_can_be_made,)
)
def other_seeds_make_other_samples(subject: Subject) -> None:
    """Noise comes from each sample's own stream, so other seeds make other samples.

    A thousand samples that are all the same are one sample, and whoever asked for them finds out late.
    """
    rows = subject.wide[:8]
    if isinstance(rows[0], str):
        assert len(set(rows)) > 1, f"Eight seeds all made {rows[0]!r}."
        return
    for i, one in enumerate(rows):
        for j, other in enumerate(rows[:i]):
            assert difference(one, other) > 0, f"Seeds {j} and {i} made the same image."


@check(
    "Draw from batch.noise alone, never from torch.randn, numpy.random or random.",
    needs=(the_same_seed_makes_the_same_sample,),
)
def global_random_state_is_not_used(subject: Subject) -> None:
    """All randomness comes from ``batch.noise``, none from global generators.

    Anything in the process may draw from a global generator in between: the sample would be another, and no
    replay would match.
    """
    made = []
    for state in (1, 2):
        with global_random_state(state):
            made.append(subject.run.rows(SEEDS))
    require_alike(made[1], made[0], "The same batch under other global seeds")


@check(
    "Seed no global generator, and draw nothing from one; a torch.Generator of your own does no harm.",
    needs=(global_random_state_is_not_used,),
)
def global_random_state_is_left_alone(subject: Subject) -> None:
    """A run neither draws from the global generators nor seeds them.

    They belong to the caller: a notebook that seeds torch and then draws an image must go on as it would
    have without it.
    """
    with global_random_state(5):
        expected = global_random_values()
    with global_random_state(5):
        subject.run.steps(SEEDS)
        found = global_random_values()
    changed = [
        name for name, a, b in zip(("random", "numpy", "torch"), found, expected, strict=True) if a != b
    ]
    assert not changed, f"The global random state of {', '.join(changed)} has changed."


@check(
    "Let row i depend on stream i alone: on no index of the batch, no first row, no shared stream.",
    needs=(global_random_state_is_not_used,),
)
def the_order_of_seeds_does_not_matter(subject: Subject) -> None:
    """A sample does not depend on its place in the batch.

    ``--seeds 4,2`` makes the samples that ``--seeds 2,4`` makes, and a run that was cut is resumed with
    whatever seeds are left.
    """
    reverse = subject.run.rows(SEEDS[::-1])[::-1]
    require_alike(reverse, subject.rows, "The batch in reverse order")


@check(
    "Normalise within each sample, not over the batch: batch statistics belong to training.",
    needs=(the_order_of_seeds_does_not_matter,),
)
def a_sample_is_the_same_in_any_batch(subject: Subject) -> None:
    """Sample i is the same, to 1e-4, alone, in a batch of 5 or of many, and however the core splits a run.

    The batch size follows from the memory of the machine. Where it changes the samples, two machines do not
    make the same ones, and a run cannot be spread over several.
    """
    run, wide = subject.run, subject.wide
    for n in (1, 5):
        require_alike(run.rows(range(n)), wide[:n], f"A batch of {n}, compared with one of {len(wide)},")
    for size in (1, 2, 5):
        samples = run.model.generate(run.prompt, n=5, seed=0, batch_size=size, **run.options)
        rows = [sample.tensor if sample.tensor is not None else sample.text or "" for sample in samples]
        require_alike(rows, wide[:5], f"A run of 5 in batches of {size}")


@check(
    "Read prompt i for row i; mask what pads a shorter prompt.", needs=(a_sample_is_the_same_in_any_batch,)
)
def prompts_of_a_batch_do_not_mix(subject: Subject) -> None:
    """Row i follows prompt i, whatever the other prompts of its batch.

    Prompts of different lengths share a batch in every run over a file of them.
    """
    if subject.card.prompt == "none":
        raise Unclaimed(f"{subject.card.id} takes no prompt")
    run = subject.run
    prompts = [run.prompt or "one", "another, somewhat longer prompt"]
    together = run.rows((0, 1), prompt=prompts)
    for i, prompt in enumerate(prompts):
        require_alike(run.rows((i,), prompt=prompt), together[i : i + 1], f"Prompt {i} alone")


@check(
    "Read value i of such an option for row i: it is a tuple of batch.n values.",
    needs=(a_sample_is_the_same_in_any_batch,),
)
def options_given_per_sample_do_not_mix(subject: Subject) -> None:
    """Row i follows value i of an option declared ``per_sample``, whatever the other values of its batch.

    ``--label 0-9`` is ten classes in one batch.
    """
    run = subject.run
    pairs = {
        option.name: values
        for option in subject.card.options.values()
        if option.per_sample and len(values := _accepted(run, option)) > 1
    }
    if not pairs:
        raise Unclaimed(f"{subject.card.id} has no option that is given per sample")
    for name, values in pairs.items():
        together = run.rows((0,) * len(values), **{name: values})
        for i, value in enumerate(values):
            alone = run.rows((0,), **{name: value})
            require_alike(alone, together[i : i + 1], f"{name} = {value!r} alone")


def _accepted(run: Runner, option: Option) -> list[Any]:
    """Values of an option that the model takes: those its card names, and one more than the least."""
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
