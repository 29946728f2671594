"""Running a model: what is planned, how it is split into batches, and what a generator may not do."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from IPython.core.completer import IPCompleter, provisionalcompleter

import zoo_core as zoo
from zoo_core import (
    Batch,
    Checkpoint,
    EmbeddedWeights,
    Model,
    ModelCard,
    Option,
    OptionError,
    PluginError,
    Sample,
    Step,
    ZooError,
)
from zoo_core.catalog import Catalog
from zoo_core.errors import CatalogError
from zoo_core.running.frames import MAX_FRAMES
from zoo_core.running.progress import Progress
from zoo_core.samples import check_replay
from zoo_core.testing.plugins import write_plugin

CARD = ModelCard(
    id="toy",
    plugin="zoo-core",  # any installed distribution has a version to record
    summary="Squares",
    family="toy",
    output="image",
    license="mit",
    weights=EmbeddedWeights(Path("weights")),
    prompt="optional",
    options={
        "steps": Option("steps", "integer", default=2, minimum=1, maximum=1000),
        "label": Option("label", "integer", minimum=0, maximum=9, per_sample=True),
        "scale": Option("scale", "number", default=1.0),
    },
)

Generate = Callable[[Batch], Iterator[Step]]


def draw(batch: Batch) -> Iterator[Step]:
    """Noise in the colour of the label, brightened step by step."""
    images = batch.noise.uniform(3, 4, 4) * batch.options.scale
    for index in range(1, batch.options.steps + 1):
        labels = [label or 0 for label in batch.options.label]
        shades = torch.tensor(labels).reshape(-1, 1, 1, 1) / 10
        yield Step(index, batch.options.steps, images=(images * index / batch.options.steps + shades) / 2)


class Recorder:
    """A generator that remembers its batches."""

    def __init__(self, generate: Generate) -> None:
        self.batches: list[Batch] = []
        self._generate = generate

    def generate(self, batch: Batch) -> Iterator[Step]:
        self.batches.append(batch)
        return self._generate(batch)


def make_model(generate: Generate = draw, **attributes: Any) -> Model:
    generator = Recorder(generate)
    for name, value in attributes.items():
        setattr(generator, name, value)
    checkpoint = Checkpoint("embedded", {}, "sha256:0")
    return Model(CARD, checkpoint, generator, torch.device("cpu"), "1.0")


def batches_of(model: Model) -> list[Batch]:
    assert isinstance(model.generator, Recorder)
    return model.generator.batches


def images(samples: Iterator[Sample] | Sequence[Sample]) -> torch.Tensor:
    return torch.stack([sample.tensor for sample in samples if sample.tensor is not None])


# --- Planning ----------------------------------------------------------------------------------------------


def test_seeds_count_up_from_the_first() -> None:
    assert [request.seed for request in make_model().plan(n=3, seed=7)] == [7, 8, 9]


def test_seeds_may_be_named() -> None:
    plan = make_model().plan(seeds=[5, 0, 5])
    assert [(request.index, request.seed) for request in plan] == [(0, 5), (1, 0), (2, 5)]
    assert len(plan) == 3


def test_without_a_seed_one_is_drawn() -> None:
    (first,), (second,) = make_model().plan(), make_model().plan()
    assert first.seed != second.seed


def test_prompts_are_taken_in_turn() -> None:
    plan = make_model().plan(["a", "b"], n=5, seed=0)
    assert [request.prompt for request in plan] == ["a", "b", "a", "b", "a"]


def test_one_sample_is_made_per_prompt_or_listed_value_whichever_are_more() -> None:
    model = make_model()
    assert len(model.plan()) == 1
    assert len(model.plan("a")) == 1
    assert len(model.plan(["a", "b"])) == 2
    assert len(model.plan(["a", "b"], label=[1, 2, 3])) == 3
    assert len(model.plan(["a", "b"], label=[1, 2, 3], n=1)) == 1


def test_each_sample_has_its_own_value_of_an_option_given_as_a_list() -> None:
    plan = make_model().plan(n=3, seed=0, label=[4, 7])
    assert [request.options["label"] for request in plan] == [4, 7, 4]


def test_options_not_given_have_their_defaults() -> None:
    (request,) = make_model().plan(scale=2, label=None)
    assert request.options == {"steps": 2, "label": None, "scale": 2.0}


def test_a_plan_of_a_million_million_costs_nothing() -> None:
    plan = make_model().plan(n=10**12, seed=0)
    assert len(plan) == 10**12
    assert [request.seed for request in islice(plan, 2)] == [0, 1]


@pytest.mark.parametrize(
    ("arguments", "message", "remedy"),
    [
        ({"n": 0}, "0 is not a number of samples.", "Give a whole number of at least 1."),
        ({"n": 2.0}, "2.0 is not a number of samples.", "Give a whole number of at least 1."),
        ({"n": True}, "True is not a number of samples.", "Give a whole number of at least 1."),
        ({"seed": -1}, "-1 is not a seed.", "Give a whole number from 0 to 9223372036854775807, such as 7."),
        ({"seed": 2**63 - 1, "n": 2}, "9223372036854775808 is not a seed.", "Give a whole number from 0 to"),
        ({"seeds": [0, "1"]}, "'1' is not a seed.", "Give a whole number from 0 to"),
        ({"seeds": range(-1, 3)}, "-1 is not a seed.", "Give a whole number from 0 to"),
        ({"seeds": []}, "The list of seeds is empty.", "Give at least one, such as 0 or 0,1,4-6."),
        ({"seeds": [1], "seed": 1}, "Seeds were given twice.", "Give either seed and n, or seeds."),
        ({"seeds": [1], "n": 2}, "Seeds were given twice.", "Give either seed and n, or seeds."),
        ({"prompt": [1]}, "1 is not a prompt.", "Give a string, or a list of messages."),
        ({"step": 1}, "toy has no option 'step'.", "Did you mean 'steps'?"),
        ({"zzz": 1}, "toy has no option 'zzz'.", "See its options: zoo show toy"),
        ({"steps": 0}, "--steps does not accept 0.", "Give an integer from 1 to 1000."),
        ({"steps": [1, 2]}, "--steps does not accept [1, 2].", "Give an integer from 1 to 1000."),
        ({"label": [1, 10]}, "--label does not accept 10.", "Give an integer from 0 to 9."),
        ({"batch_size": 0}, "0 is not a batch size.", "Give a whole number of at least 1."),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_runs(
    arguments: dict[str, Any], message: str, remedy: str
) -> None:
    model = make_model()
    with pytest.raises(OptionError) as caught:
        model.generate(**arguments)
    assert caught.value.message == message
    assert caught.value.remedy.startswith(remedy)
    assert batches_of(model) == []


@pytest.mark.parametrize(
    ("wants", "prompt", "message"),
    [("none", "a cat", "toy takes no prompt."), ("required", None, "toy needs a prompt.")],
)
def test_a_prompt_too_many_or_too_few_is_refused(wants: Any, prompt: str | None, message: str) -> None:
    model = make_model()
    model.card = ModelCard(**{**vars(CARD), "prompt": wants})
    with pytest.raises(OptionError) as caught:
        model.generate(prompt)
    assert caught.value.message == message


# --- Batches -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("batch_size", "sizes"), [(1, [1] * 5), (2, [2, 2, 1]), (5, [5]), (64, [5]), (None, [3, 2])]
)
def test_the_core_splits_the_work(batch_size: int | None, sizes: list[int]) -> None:
    model = make_model(batch_size=3)
    list(model.generate(n=5, seed=0, batch_size=batch_size))
    assert [batch.n for batch in batches_of(model)] == sizes


def test_a_generator_that_says_nothing_gets_one_sample_at_a_time() -> None:
    model = make_model()
    list(model.generate(n=2, seed=0))
    assert [batch.n for batch in batches_of(model)] == [1, 1]


def test_a_batch_holds_what_belongs_to_each_sample() -> None:
    model = make_model()
    list(model.generate(["a", "b"], n=3, seed=7, label=[4, 5, 6], steps=1, batch_size=2))
    first, second = batches_of(model)
    assert first.noise.seeds == (7, 8)
    assert first.prompts == ("a", "b")
    assert vars(first.options) == {"steps": 1, "label": (4, 5), "scale": 1.0}
    assert second.noise.seeds == (9,)
    assert second.prompts == ("a",)
    assert second.options.label == (6,)


@pytest.mark.parametrize("n", [1, 5, 64])
@pytest.mark.parametrize("batch_size", [1, 3, 64])
def test_a_sample_does_not_depend_on_number_or_batch_size(n: int, batch_size: int) -> None:
    made = images(make_model().generate(n=n, seed=0, batch_size=batch_size, label=[1, 2, 3]))
    reference = images(make_model().generate(n=64, seed=0, label=[1, 2, 3]))
    assert torch.equal(made, reference[:n])


def test_samples_come_in_order_with_what_made_them() -> None:
    samples = list(make_model().generate(["a", "b"], seeds=[9, 0, 4], label=[1, 2], batch_size=2))
    assert [sample.index for sample in samples] == [0, 1, 2]
    assert [sample.seed for sample in samples] == [9, 0, 4]
    assert [sample.record.prompt for sample in samples] == ["a", "b", "a"]
    assert [sample.record.options["label"] for sample in samples] == [1, 2, 1]


def test_the_record_says_what_was_run_and_on_what() -> None:
    (sample,) = make_model(dtype=torch.float32).generate(seed=3)
    record = sample.record
    assert (record.model, record.plugin, record.output) == ("toy", "zoo-core", "image")
    assert record.versions["torch"] == torch.__version__
    assert record.versions["zoo-core"] == "1.0"
    assert record.checkpoint == {"source": "embedded", "digest": "sha256:0"}
    assert (record.dtype, record.device) == ("float32", "cpu")


def test_each_sample_keeps_its_own_metadata() -> None:
    def generate(batch: Batch) -> Iterator[Step]:
        metadata = tuple({"seed was": seed} for seed in batch.noise.seeds)
        yield Step(images=torch.zeros(batch.n, 3, 4, 4), metadata=metadata)

    samples = make_model(generate).generate(n=3, seed=4, batch_size=2)
    assert [sample.record.metadata for sample in samples] == [{"seed was": seed} for seed in (4, 5, 6)]


def test_a_part_of_a_plan_can_be_made() -> None:
    model = make_model()
    plan = list(model.plan(n=4, seed=0))
    part = list(model.make(plan[2:3]))
    assert [sample.index for sample in part] == [2]
    assert torch.equal(images(part)[0], images(model.make(plan))[2])


# --- Steps -------------------------------------------------------------------------------------------------


def test_every_step_is_reported_with_its_batch() -> None:
    reports: list[Progress] = []
    list(make_model().generate(n=3, seed=0, batch_size=2, steps=2, on_step=reports.append))
    assert [(len(report.requests), report.step.index) for report in reports] == [
        (2, 1),
        (2, 2),
        (1, 1),
        (1, 2),
    ]


def test_the_signature_of_a_model_has_its_own_options() -> None:
    """IPython and Jupyter complete ``model(…)`` by it, and ``help`` shows it."""
    completer = IPCompleter(namespace={"model": make_model()}, use_jedi=False)
    completer.custom_completers = None
    with provisionalcompleter():
        offered = {each.text for each in completer.completions("model(st", 8)}
    assert "steps=" in offered
    signature = inspect.signature(make_model())
    assert signature.parameters["steps"].default == 2
    assert str(signature.parameters["label"].annotation) == "int | collections.abc.Sequence[int] | None"
    assert list(signature.parameters)[-3:] == list(CARD.options)
    with pytest.raises(OptionError, match="Did you mean 'steps'"):
        make_model()(stepz=3)


def test_previews_are_kept_when_asked_for() -> None:
    (sample,) = make_model().generate(seed=0, steps=3, keep_frames=True)
    # The last step is the result, not a preview of it.
    assert [frame.shape for frame in sample.frames] == [(4, 4, 3)] * 2
    (without,) = make_model().generate(seed=0, steps=3)
    assert without.frames == ()


def diffuse(batch: Batch) -> Iterator[Step]:
    """Two steps, with an x_t beside the prediction."""
    x = batch.noise.normal(1, 2, 2)
    for index in (1, 2):
        yield Step(index, 2, images=x.clamp(-1, 1) / 2, x_t=x.clamp(-1, 1))


def test_a_film_shows_x_t_or_the_predictions_of_x_0() -> None:
    model = make_model(diffuse)
    x = torch.full((1, 1, 2, 2), 0.5)
    (noisy,) = model.generate(latents=x, keep_frames=True)
    (predicted,) = model.generate(latents=x, keep_frames="x0")
    assert [int(sample.frames[0][0, 0]) for sample in (noisy, predicted)] == [191, 159]
    with pytest.raises(OptionError, match="no diffusion model"):
        list(make_model().generate(seed=0, keep_frames="x0"))


def test_latents_replace_the_noise_and_are_recorded(tmp_path: Path) -> None:
    model = make_model(diffuse)
    own = torch.cat([zoo.Noise([seed]).normal(1, 2, 2) for seed in (5, 6, 7)])
    expected = list(model.generate(n=3, seed=5))
    given = list(model.generate(latents=own, seed=5, batch_size=2))
    for one, other in zip(expected, given, strict=True):
        assert one.tensor is not None
        assert other.tensor is not None
        assert torch.equal(one.tensor, other.tensor)
    assert len({sample.record.identity for sample in (*expected, *given)}) == 6
    with pytest.raises(zoo.OutputError, match="latents given in Python"):
        check_replay(given[0].record, expected[0].record)


@pytest.mark.parametrize(
    ("latents", "arguments", "problem"),
    [
        ([0.5], {}, "not a tensor of floats"),
        (torch.zeros(2, 1, 2, 2, dtype=torch.int64), {}, "not a tensor of floats"),
        (torch.full((1, 1, 2, 2), torch.nan), {}, "NaN"),
        (torch.zeros(2, 1, 2, 2), {"n": 3}, "2 rows for 3 samples"),
        (torch.zeros(2, 1, 2, 2), {"seeds": [1]}, "2 rows for 1 samples"),
        (torch.zeros(1, 1, 4, 4), {}, r"shape \(n, 1, 2, 2\), not \(1, 1, 4, 4\)"),
    ],
)
def test_latents_that_do_not_fit_are_refused(latents: Any, arguments: dict[str, Any], problem: str) -> None:
    with pytest.raises(OptionError, match=problem):
        list(make_model(diffuse).generate(latents=latents, **arguments))


def test_latents_of_a_model_without_normals_are_refused() -> None:
    with pytest.raises(OptionError, match="takes no latents"):
        list(make_model().generate(latents=torch.zeros(1, 3)))


@pytest.mark.parametrize("steps", [MAX_FRAMES, MAX_FRAMES + 1, 1000])
def test_previews_are_thinned_evenly(steps: int) -> None:
    (sample,) = make_model().generate(seed=0, steps=steps, keep_frames=True)
    assert len(sample.frames) == MAX_FRAMES - 1


def test_gradients_are_off_while_the_generator_runs_and_only_then() -> None:
    modes: list[tuple[bool, bool]] = []

    def generate(batch: Batch) -> Iterator[Step]:
        for step in draw(batch):
            modes.append((torch.is_inference_mode_enabled(), torch.is_grad_enabled()))
            yield step

    outside = []
    for _ in make_model(generate).generate(
        n=2, seed=0, on_step=lambda _: outside.append(torch.is_grad_enabled())
    ):
        outside.append(torch.is_grad_enabled())
        assert not torch.is_inference_mode_enabled()
    assert modes == [(True, False)] * 4
    assert outside == [True] * 6


def test_gradients_are_off_in_a_generate_that_computes_before_it_returns() -> None:
    weight = torch.ones((), requires_grad=True)

    def generate(batch: Batch) -> Iterator[Step]:
        return iter([Step(images=weight * batch.noise.uniform(1, 2, 2))])

    (sample,) = make_model(generate).generate(seed=0)
    assert sample.tensor is not None
    assert not sample.tensor.requires_grad


def test_an_image_is_an_ordinary_tensor_that_holds_no_other_sample() -> None:
    first, _ = make_model().generate(n=2, seed=0, batch_size=2)
    assert first.tensor is not None
    assert not first.tensor.is_inference()
    assert first.tensor.untyped_storage().nbytes() == first.tensor.nbytes
    first.tensor.add_(1).requires_grad_()


# --- Memory ------------------------------------------------------------------------------------------------


def test_memory_does_not_grow_with_the_number_of_samples() -> None:
    alive: list[int] = []
    references: list[weakref.ref[torch.Tensor]] = []

    def generate(batch: Batch) -> Iterator[Step]:
        alive.append(sum(reference() is not None for reference in references))
        for step in draw(batch):
            assert step.images is not None
            references.append(weakref.ref(step.images))
            yield step

    for sample in make_model(generate).generate(n=20, seed=0, batch_size=2, keep_frames=True):
        del sample
    assert alive == [0] * 10


def test_seeds_are_not_drawn_before_they_are_needed() -> None:
    samples = make_model().generate(n=10**12, seed=0, batch_size=2)
    assert [sample.seed for sample in islice(samples, 3)] == [0, 1, 2]


# --- Cancelling --------------------------------------------------------------------------------------------


def recording_its_end(ends: list[int]) -> Generate:
    def generate(batch: Batch) -> Iterator[Step]:
        try:
            yield from draw(batch)
        finally:
            ends.append(batch.n)

    return generate


def test_closing_the_samples_closes_the_generator() -> None:
    ends: list[int] = []
    samples = make_model(recording_its_end(ends)).generate(n=4, seed=0, batch_size=2)
    next(samples)
    samples.close()  # type: ignore[attr-defined]
    assert ends == [2]


def test_an_error_of_the_caller_closes_the_generator_and_passes_unchanged() -> None:
    ends: list[int] = []

    def stop(progress: Progress) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        list(make_model(recording_its_end(ends)).generate(seed=0, on_step=stop))
    assert ends == [1]


def test_a_generator_may_return_any_iterator() -> None:
    assert len(list(make_model(lambda batch: iter(list(draw(batch)))).generate(n=2, seed=0))) == 2


# --- What a generator may not do ---------------------------------------------------------------------------


def refusal(generate: Generate, n: int = 2) -> ZooError:
    with pytest.raises(ZooError) as caught:
        list(make_model(generate).generate(n=n, seed=0, batch_size=n))
    return caught.value


def raising(error: BaseException) -> Generate:
    def generate(batch: Batch) -> Iterator[Step]:
        yield next(draw(batch))
        raise error

    return generate


PAIR = torch.zeros(2, 3, 4, 4)


def yielding(*steps: Any) -> Generate:
    return lambda batch: iter(steps)


def test_what_a_generator_raises_is_named_after_its_plugin() -> None:
    problem = refusal(raising(ValueError("shapes differ")))
    assert isinstance(problem, PluginError)
    assert problem.message == "zoo-core failed while running toy: ValueError: shapes differ"
    assert problem.remedy == "Run again with --debug for the details."


def test_an_error_that_a_generator_means_for_the_user_passes_unchanged() -> None:
    problem = refusal(raising(OptionError("There is no class 11.", "Give one from 0 to 9.")))
    assert problem.message == "There is no class 11."


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 9 bytes."),
    ],
)
def test_running_out_of_memory_has_a_remedy(error: BaseException) -> None:
    problem = refusal(raising(error))
    assert problem.message == "Out of memory."
    assert problem.remedy == "Try a smaller --batch-size."


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ((), "yielded no step"),
        ((None,), "yielded None where a Step belongs"),
        ((Step(),), "ended without image samples"),
        ((Step(images=torch.zeros(1, 3, 4, 4)),), "made 1 samples where 2 were asked for"),
        ((Step(texts=("a", "b")),), "ended without image samples"),
        ((Step(images=PAIR, metadata=({},)),), "made 1 samples where 2 were asked for"),
        ((Step(images=torch.zeros(2, 4, 4)),), "made images of shape (2, 4, 4), not (n, c, h, w)"),
        ((Step(images=torch.zeros(2, 2, 4, 4)),), "made images of shape (2, 2, 4, 4), not (n, c, h, w)"),
        ((Step(images=[0, 0]),), "made a list where a tensor belongs"),  # type: ignore[arg-type]
    ],
)
def test_a_broken_promise_is_named(step: tuple[Any, ...], what: str) -> None:
    problem = refusal(yielding(*step))
    assert isinstance(problem, PluginError)
    assert problem.message == f"zoo-core: the generator of toy {what}."
    assert problem.remedy == "Report it to the plugin's author."


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_values_that_are_not_numbers_are_refused(value: float) -> None:
    problem = refusal(yielding(Step(images=torch.full((2, 1, 4, 4), value))))
    assert problem.message == "toy produced NaN or infinity (in unknown)."
    assert problem.remedy == "Try --dtype float32."


# --- Loading -----------------------------------------------------------------------------------------------

MANIFEST = """\
schema = 1
[plugin]
name = "zoo-toy"
summary = "Squares"
lists_models = true
[[model]]
id = "toy-grey"
aliases = ["someone/toy-grey"]
summary = "Grey squares"
family = "toy"
output = "image"
license = "mit"
weights = { embedded = "weights" }
"""

SOURCE = """\
from dataclasses import replace
from zoo_core import hookimpl

@hookimpl
def zoo_create_generator(card, checkpoint, device, dtype):
    from zoo_toy.generator import Grey
    return {result}

@hookimpl
def zoo_list_models():
    from zoo_core.catalog import Catalog
    return [replace(Catalog.read().find("toy-grey"), id="toy-unlisted")]
"""

GENERATOR = """\
import torch
from zoo_core import Step

class Grey:
    def __init__(self, checkpoint, device, dtype):
        self.level = checkpoint.json("config.json")["level"]
        self.dtype = dtype or torch.float32

    def generate(self, batch):
        yield Step(images=self.level + 0 * batch.noise.uniform(1, 2, 2))
"""


@pytest.fixture
def toy(plugin_site: Path) -> Callable[..., None]:
    def install(result: str = "Grey(checkpoint, device, dtype)") -> None:
        files = {"generator.py": GENERATOR, "weights/config.json": '{"level": 0.5}'}
        write_plugin(plugin_site, "zoo-toy", MANIFEST, SOURCE.format(result=result), version="3", files=files)

    return install


@pytest.mark.parametrize("name", ["toy-grey", "TOY-GREY", "someone/toy-grey", "toy-unlisted"])
def test_a_model_is_loaded_by_name(toy: Callable[..., None], name: str) -> None:
    toy()
    (sample,) = zoo.load(name).generate(seed=0)
    assert sample.tensor is not None
    assert sample.tensor.tolist() == [[[0.5, 0.5], [0.5, 0.5]]]
    assert sample.record.versions["zoo-toy"] == "3"
    assert sample.record.checkpoint["source"] == "embedded"


def test_a_model_is_loaded_from_its_card(toy: Callable[..., None]) -> None:
    toy()
    assert zoo.load(Catalog.read().find("toy-grey")).card.id == "toy-grey"


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16", "float64"])
def test_the_dtype_asked_for_reaches_the_generator(toy: Callable[..., None], dtype: str) -> None:
    toy()
    model = zoo.load("toy-grey", dtype=dtype)
    assert model.dtype == dtype
    (sample,) = model.generate(seed=0)
    assert sample.tensor is not None
    assert sample.tensor.dtype == torch.float32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"device": "cuda:99"}, "There is no device 'cuda:99' on this machine."),
        ({"device": "abacus"}, "There is no device 'abacus' on this machine."),
        ({"dtype": "float12"}, "There is no dtype 'float12'."),
    ],
)
def test_a_device_or_dtype_that_is_none_is_refused(
    toy: Callable[..., None], arguments: dict[str, str], message: str
) -> None:
    toy()
    with pytest.raises(OptionError) as caught:
        zoo.load("toy-grey", **arguments)  # type: ignore[arg-type]
    assert caught.value.message == message


@pytest.mark.parametrize("result", ["None", "3"])
def test_a_plugin_that_makes_no_generator_is_named(toy: Callable[..., None], result: str) -> None:
    toy(result)
    with pytest.raises(PluginError) as caught:
        zoo.load("toy-grey")
    assert caught.value.message == f"zoo-toy made no generator for toy-grey, but {result}."


def test_a_name_that_no_plugin_knows_is_refused(toy: Callable[..., None]) -> None:
    toy()
    with pytest.raises(CatalogError, match="There is no model called 'toy-green'"):
        zoo.load("toy-green")


def test_steps_are_equal_if_their_values_are() -> None:
    def step(**changed: object) -> Step:
        return Step(**({"index": 2, "images": torch.ones(1, 3, 2, 2), "texts": None} | changed))  # type: ignore[arg-type]

    assert step() == step()
    different = [{"index": 3}, {"images": torch.zeros(1, 3, 2, 2)}, {"images": torch.ones(1, 3, 2)}]
    different += [{"images": torch.ones(1, 3, 2, 2, dtype=torch.float64)}, {"images": None}]
    for changed in different:
        assert step() != step(**changed)
