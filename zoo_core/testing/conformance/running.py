"""A run: what a generator yields from the first step to the last."""

from __future__ import annotations

from itertools import pairwise

from zoo_core.errors import OptionError
from zoo_core.testing.conformance.check import Unclaimed, check
from zoo_core.testing.conformance.loading import (
    the_batch_size_it_likes_is_a_number,
    the_model_can_be_loaded,
)
from zoo_core.testing.conformance.subject import SEEDS, Subject
from zoo_core.testing.soundness import (
    require_facts,
    require_images,
    require_result,
    require_rows,
    require_sound,
    require_texts,
)


@check(
    "Yield at least one Step, put the result into the last one, and return after it.",
    needs=(the_model_can_be_loaded,),
    quick=True,
)
def a_run_ends_with_a_result(subject: Subject) -> None:
    """A run yields at least one step, and ends; its last step carries what the card calls its output.

    The last step is the sample: a run that ends without one has nothing to save, and one that does not end
    cannot be waited for.
    """
    require_result(subject.reference, subject.card.output)


@check(
    "Count steps from 1, and tell their total in the first Step already.",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def steps_count_up_to_their_total(subject: Subject) -> None:
    """``Step.index`` begins at 1 or later and grows up to ``Step.total``, which never grows.

    Progress bars, the choice of previews for an animation and the time that is left are computed from them.
    """
    indices = [step.index for step in subject.reference]
    totals = [step.total for step in subject.reference]
    assert indices[0] >= 1, f"The first step has index {indices[0]}; steps are counted from 1."
    assert indices == sorted(set(indices)), f"The steps are not in order: {indices}."
    assert totals == sorted(totals, reverse=True), f"The total grows on the way: {totals}."
    assert all(i <= total for i, total in zip(indices, totals, strict=True)), (
        f"An index lies beyond its total: {list(zip(indices, totals, strict=True))}."
    )


@check(
    "Give every field of a Step that is not None one row per sample: batch.n of them.",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def every_sample_has_its_row(subject: Subject) -> None:
    """Whatever a step carries, images, texts or metadata, it carries one of it per sample.

    Row i belongs to seed i: with one row less, every later sample is saved under another's seed.
    """
    require_rows(subject.reference, len(SEEDS))


@check(
    "Bring images, previews too, into [-1, 1] as floats (n, c, h, w), by tanh() or clamp(-1, 1).",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def images_are_finite_and_in_range(subject: Subject) -> None:
    """Images, previews included, are floats (n, c, h, w) in [-1, 1], with 1, 3 or 4 channels.

    Every writer, scorer and measure takes them so; a value out of range is cut off without a word.
    """
    if subject.card.output != "image":
        raise Unclaimed(f"{subject.card.id} makes no images")
    require_images(subject.reference)


@check(
    "Decode tokens to str, and hold bytes back until they are a whole character.",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def texts_are_text(subject: Subject) -> None:
    """Texts are strings that can be written as UTF-8.

    Half a character or undecoded bytes cannot be written to a file or to JSON, and the work would be lost.
    """
    if subject.card.output != "text":
        raise Unclaimed(f"{subject.card.id} makes no texts")
    require_texts(subject.reference)


@check(
    "Keep metadata to strings, numbers, booleans, lists and mappings of them.",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def facts_can_be_recorded(subject: Subject) -> None:
    """What a step tells about each sample is a mapping that JSON can hold.

    Facts are saved with the sample; what JSON cannot hold would be found out after the work is done.
    """
    require_facts(subject.reference)


COMPARABLE = (
    every_sample_has_its_row,
    images_are_finite_and_in_range,
    texts_are_text,
    facts_can_be_recorded,
)
"""Without these, samples cannot be compared with each other."""


@check(
    "Let a preview show what is certain so far, in the result's own size; yield none where there is nothing.",
    needs=COMPARABLE,
)
def previews_grow_into_the_result(subject: Subject) -> None:
    """A text so far begins the next one; an image so far has the size of the result.

    A text is shown while it is written, and what is shown cannot be taken back; previews of an image become
    an animation, whose frames are of one size.
    """
    texts = [step.texts for step in subject.reference if step.texts is not None]
    for before, after in pairwise(texts):
        for earlier, later in zip(before, after, strict=True):
            assert later.startswith(earlier), f"A text was {earlier!r} and then {later!r}."
    shapes = {tuple(step.images.shape) for step in subject.reference if step.images is not None}
    assert len(shapes) <= 1, f"Previews and result differ in shape: {sorted(shapes)}."


@check(
    "Compute under the inference mode that the core sets, and enable no gradients; detach() what has them.",
    needs=(a_run_ends_with_a_result,),
)
def gradients_are_not_kept(subject: Subject) -> None:
    """No image carries a graph.

    A graph holds the memory of everything that made the image for as long as the image lives.
    """
    for step in subject.reference:
        assert step.images is None or not step.images.requires_grad, "An image requires a gradient."


@check(
    "Let no dimension go by squeeze() or broadcasting, and build nothing for a fixed number of samples.",
    needs=(*COMPARABLE, the_batch_size_it_likes_is_a_number),
)
def any_number_of_samples_can_be_made(subject: Subject) -> None:
    """None is refused; one sample, five, and a whole batch of many are made.

    One sample is what most people ask for first, and a batch of one is where squeeze() loses a dimension.
    """
    run = subject.run
    for n in (0, -1):
        try:
            run.model.plan(run.prompt, n=n, **run.options)
        except OptionError:
            continue
        raise AssertionError(f"A run of {n} samples was not refused.")
    for n in (1, 5):
        made = len(list(run.model.generate(run.prompt, n=n, seed=0, **run.options)))
        assert made == n, f"A run of {n} samples made {made}."
    for last, n in ((run.last((0,)), 1), (subject.wide_step, subject.widest)):
        require_result([last], subject.card.output)
        require_sound([last], n)
