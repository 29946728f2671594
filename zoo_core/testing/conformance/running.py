"""A run: the steps that a generator yields, from the first to the last."""

from __future__ import annotations

from itertools import pairwise

from zoo_core.errors import OptionError
from zoo_core.testing.conformance.check import NotApplicable, check
from zoo_core.testing.conformance.loading import batch_size_is_a_positive_integer, the_model_loads
from zoo_core.testing.conformance.subject import SEEDS, ModelSubject
from zoo_core.testing.validation import (
    require_kind,
    require_metadata,
    require_result,
    require_rows,
    require_sound,
)


@check(
    "Yield at least one Step, put the result into the last one, and return after it.",
    needs=(the_model_loads,),
    quick=True,
)
def a_run_ends_with_a_result(subject: ModelSubject) -> None:
    """A run yields at least one step and then ends; its last step carries the output that the card declares.

    The last step is the sample. Without it there is nothing to save, and a run that never ends blocks its
    user.
    """
    require_result(subject.reference, subject.card.output)


@check(
    "Count steps from 1, and give the total in the first Step already.",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def steps_count_up_to_the_total(subject: ModelSubject) -> None:
    """``Step.index`` starts at 1 or later and increases up to ``Step.total``, which never increases.

    The progress bar, the remaining time and the frames of an animation are computed from these numbers.
    """
    indices = [step.index for step in subject.reference]
    totals = [step.total for step in subject.reference]
    assert indices[0] >= 1, f"The first step has index {indices[0]}; count steps from 1."
    assert indices == sorted(set(indices)), f"The steps are not in order: {indices}."
    assert totals == sorted(totals, reverse=True), f"The total increases during the run: {totals}."
    assert all(i <= total for i, total in zip(indices, totals, strict=True)), (
        f"An index exceeds its total: {list(zip(indices, totals, strict=True))}."
    )


@check(
    "Give every field of a Step that is not None one row per sample: batch.n rows.",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def every_step_has_one_row_per_sample(subject: ModelSubject) -> None:
    """The images, texts and metadata of a step have one row per sample.

    Row i belongs to seed i. If a row is missing, every later sample is saved under the wrong seed.
    """
    require_rows(subject.reference, len(SEEDS))


@check(
    "Return images, previews included, as floats (n, c, h, w) in [-1, 1]: use tanh() or clamp(-1, 1).",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def images_are_finite_and_in_range(subject: ModelSubject) -> None:
    """Images, previews included, are finite floats (n, c, h, w) in [-1, 1] with 1, 3 or 4 channels.

    All writers, scorers and metrics expect this range; values outside it are clipped without a warning.
    """
    if subject.card.output != "image":
        raise NotApplicable(f"{subject.card.id} generates no images")
    require_kind(subject.reference, "image")


@check(
    "Decode tokens to str, and hold back bytes until they form a whole character.",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def texts_are_valid_strings(subject: ModelSubject) -> None:
    """Texts are strings that UTF-8 can encode.

    Half a character or undecoded bytes cannot be written to a file or to JSON, and the sample would be lost.
    """
    if subject.card.output != "text":
        raise NotApplicable(f"{subject.card.id} generates no texts")
    require_kind(subject.reference, "text")


@check(
    "Return audio (n, channels, length) and videos (n, frames, c, h, w) in [-1, 1] with their rate, points "
    "(n, count, dimensions), and tables as columns of one length; all numbers finite.",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def other_kinds_of_output_are_sound(subject: ModelSubject) -> None:
    """Audio is finite floats (n, channels, length) in [-1, 1] with its rate in Hz; a video is finite floats
    (n, frames, c, h, w) in [-1, 1], c 1 or 3, with its frames per second; points are finite floats
    (n, count, dimensions); a table has named columns of one length, each of finite numbers or of texts.

    Files and plots have no place for anything else: louder values are clipped, and without its rate nobody
    can play a recording.
    """
    if subject.card.output in ("image", "text"):
        raise NotApplicable(f"{subject.card.id} generates {subject.card.output}s")
    require_kind(subject.reference, subject.card.output)


@check(
    "Use only strings, numbers, booleans, lists and mappings of them as metadata.",
    needs=(a_run_ends_with_a_result,),
    quick=True,
)
def metadata_is_json(subject: ModelSubject) -> None:
    """The metadata of each sample is a mapping that JSON can represent.

    Metadata is saved with the sample. A value that JSON cannot represent would fail only after the sample is
    made.
    """
    require_metadata(subject.reference)


COMPARABLE = (
    every_step_has_one_row_per_sample,
    images_are_finite_and_in_range,
    texts_are_valid_strings,
    other_kinds_of_output_are_sound,
    metadata_is_json,
)
"""Checks that must pass before samples can be compared."""


@check(
    "Make a preview text a prefix of the result and a preview image as large as the result; yield"
    " no preview before there is something to show.",
    needs=COMPARABLE,
)
def previews_are_consistent_with_the_result(subject: ModelSubject) -> None:
    """Each preview text is a prefix of the next one; each preview image has the size of the result.

    Text is shown while it is generated and cannot be taken back; preview images become frames of an
    animation, which all have one size.
    """
    texts = [step.texts for step in subject.reference if step.texts is not None]
    for before, after in pairwise(texts):
        for earlier, later in zip(before, after, strict=True):
            assert later.startswith(earlier), f"A preview text was {earlier!r}, and the next one {later!r}."
    shapes = {tuple(step.images.shape) for step in subject.reference if step.images is not None}
    assert len(shapes) <= 1, f"Previews and result have different shapes: {sorted(shapes)}."


@check(
    "Do not enable gradients; the core runs generators in inference mode. Otherwise detach() the images.",
    needs=(a_run_ends_with_a_result,),
)
def images_have_no_gradient(subject: ModelSubject) -> None:
    """No image carries an autograd graph.

    A graph keeps all intermediate tensors in memory as long as the image exists.
    """
    for step in subject.reference:
        rows = step.rows(subject.card.output)
        assert not getattr(rows, "requires_grad", False), f"The {subject.card.output} requires a gradient."


@check(
    "Lose no dimension to squeeze() or broadcasting, and hard-code no batch size.",
    needs=(*COMPARABLE, batch_size_is_a_positive_integer),
)
def any_number_of_samples_can_be_generated(subject: ModelSubject) -> None:
    """Runs of one sample, of five and of one large batch work; a run of no samples is refused.

    One sample is the most common request, and a batch of one is where squeeze() loses a dimension.
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
        assert made == n, f"A run of {n} samples gave {made}."
    for last, n in ((run.last((0,)), 1), (subject.wide_step, subject.widest)):
        require_result([last], subject.card.output)
        require_sound([last], n)
