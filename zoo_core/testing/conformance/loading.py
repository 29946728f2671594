"""Loading: the checkpoint fits the network, and the process stays as it was."""

from __future__ import annotations

from zoo_core.testing.conformance.check import NotApplicable, check
from zoo_core.testing.conformance.corruption import tensor_files
from zoo_core.testing.conformance.fresh import in_a_fresh_process, watch_loading
from zoo_core.testing.conformance.subject import ModelSubject

MOST_BYTES = 128 << 10
"""Most bytes of an example."""


@check("See the full error with: zoo run MODEL --debug", quick=True)
def the_model_loads(subject: ModelSubject) -> None:
    """The weights are verified, and ``zoo_create_generator`` returns a generator.

    All other checks of a model need a loaded model.
    """
    assert subject.run.model.generator is not None


@check(
    "Change no global setting of torch, neither during import nor while building the generator. "
    "Build the network on the meta device, so that initialisation draws no random numbers.",
    needs=(the_model_loads,),
)
def loading_has_no_side_effects(subject: ModelSubject) -> None:
    """Loading changes no torch setting, replaces no torch function and draws no global random number.

    The caller may run other models and code in the same process. The check uses a fresh process, because a
    module is imported only once.
    """
    in_a_fresh_process(watch_loading, subject.card)


@check(
    "Load the network with zoo_core.load_network, which checks all names and shapes.",
    needs=(the_model_loads,),
)
def mismatched_weights_are_refused(subject: ModelSubject) -> None:
    """A checkpoint with a missing tensor, an extra tensor or a tensor of another shape is refused.

    A missing tensor leaves random values in its place: the model still runs, and its samples are merely bad.
    """
    if not subject.corruptions_tried:
        raise NotApplicable(f"{subject.card.id} has no file of named tensors")
    for attempt in subject.corruptions_tried:
        assert attempt.error is not None, f"{attempt.what} was loaded without an error."


@check(
    "Correct `parameters` of the model in zoo.toml, or leave it out.", needs=(the_model_loads,), quick=True
)
def the_number_of_parameters_is_right(subject: ModelSubject) -> None:
    """``parameters`` of the card is the number of values in the files of weights.

    People choose by the size that ``zoo list`` shows, and it goes stale when a model is trained again. Files
    may hold buffers besides: up to a quarter more.
    """
    stated = subject.card.parameters
    if stated is None:
        raise NotApplicable(f"the card of {subject.card.id} states no number of parameters")
    files = tensor_files(subject.run.model.checkpoint)
    held = sum(tensor.numel() for _, tensors in files for tensor in tensors.values())
    if not held:
        raise NotApplicable(f"{subject.card.id} has no file of named tensors")
    assert 0.98 * stated <= held <= 1.25 * stated, (
        f"The card says {stated:,}; the files hold {held:,} values."
    )


@check("Make batch_size an int of at least 1.", needs=(the_model_loads,))
def batch_size_is_a_positive_integer(subject: ModelSubject) -> None:
    """A generator's ``batch_size``, if it has one, is an integer of at least 1.

    The core splits a run into batches of this size.
    """
    size = getattr(subject.generator, "batch_size", 1)
    assert type(size) is int, f"batch_size is {size!r}."
    assert size >= 1, f"batch_size is {size!r}."


@check("Write one with the model: zoo run MODEL -n 8 -o FILE.png", needs=(the_model_loads,), quick=True)
def the_example_is_a_small_image(subject: ModelSubject) -> None:
    """``example`` of the card is a PNG in the package, of at most 128 KiB.

    A page of models shows many examples; without its file, a card there has no image.
    """
    from PIL import Image

    path = subject.card.example
    if path is None:
        raise NotApplicable(f"the card of {subject.card.id} has no example")
    assert path.is_file(), f"{path} is missing."
    size = path.stat().st_size
    assert size <= MOST_BYTES, f"{path} has {size:,} bytes."
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.verify()
    except (OSError, SyntaxError) as error:
        raise AssertionError(f"{path} is no PNG: {error}.") from None
