"""The conformance suite: what a plugin's author inherits to prove that a model keeps the contracts.

    from zoo_core.testing import GeneratorConformance

    class TestFaces(GeneratorConformance):
        model = "dcgan-faces"
        options = {"steps": 2}

and ``pytest``. Every check's docstring states the contract it proves. What a model does not claim is skipped
by what its card declares: scores by ``abilities``, prompts by ``prompt``, pictures and texts by ``output``.
A check that cannot be judged because of what another one finds is skipped too, so that a mistake shows where
it is.
"""

from __future__ import annotations

import gc
import math
import os
import socket
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest
import torch

from zoo_core.card import Option
from zoo_core.errors import OptionError, ZooError
from zoo_core.generator import PROTOCOLS, Batch, Score, Scorer, Step
from zoo_core.manifest import installed_plugins
from zoo_core.model import DTYPES, Model, load, make_plan
from zoo_core.noise import Noise
from zoo_core.output import compare, read_record
from zoo_core.testing.driving import Row, Runner, advance, close, drive, rows_of, start
from zoo_core.testing.soundness import (
    difference,
    require_alike,
    require_facts,
    require_pictures,
    require_result,
    require_rows,
    require_sound,
    require_texts,
)
from zoo_core.testing.watching import (
    global_random_state,
    global_random_values,
    imported_by,
    older_objects_ignored,
    require_settings,
    tensor_bytes,
    torch_settings,
)

SCORE_TOLERANCE = 1e-4
"""How far two scores of an item may differ, relative."""

SEEDS = (0, 1, 2)
WIDE = range(64)

HEAVY = (
    "accelerate", "diffusers", "huggingface_hub", "jax", "matplotlib", "pandas", "scipy", "sklearn",
    "tensorflow", "torch", "transformers",
)  # fmt: skip
"""Modules that take a noticeable time to import; a plugin imports them when it is used."""

PROMPTS = {
    "empty": "",
    "blank": "  \t",
    "very long": "a very long prompt " * 500,
    "of many scripts": "naïve 漢字 עברית 🦓👩‍🚀 e\u0301",
    "with line breaks and a zero": "one\ntwo\r\nthree\0",
}


class GeneratorConformance:
    """Checks of one model; inherit it, and name the model.

    To check several models, or one that a test makes, override the fixture ``subject``.
    """

    model: ClassVar[str | os.PathLike[str]]
    """What :func:`zoo_core.load` takes: an id, ``hf:ORG/REPO``, a folder."""
    prompt: ClassVar[str | None] = None
    """The prompt of every run, for a model that needs one."""
    options: ClassVar[Mapping[str, Any]] = {}
    """Options of every run. One that makes the model slow (``steps``) belongs here: it is then kept as it is,
    while the others are tried with every value their card names."""

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls) -> Model:
        """The loaded model."""
        return load(cls.model, device="cpu")

    @pytest.fixture(scope="class")
    @classmethod
    def run(cls, subject: Model) -> Runner:
        """What runs it."""
        return Runner(subject, cls.prompt, cls.options)

    @pytest.fixture(scope="class")
    @classmethod
    def reference(cls, run: Runner) -> list[Step]:
        """The steps of one batch."""
        with _judged_elsewhere(), global_random_state(0):
            steps = run.steps(SEEDS)
            require_result(steps, run.model.card.output)
        return steps

    @pytest.fixture(scope="class")
    @classmethod
    def sound(cls, run: Runner, reference: list[Step]) -> list[Row]:
        """The samples of that batch, if they can be compared at all."""
        with _judged_elsewhere():
            require_sound(reference, len(SEEDS))
        return rows_of(reference[-1])

    @pytest.fixture(scope="class")
    @classmethod
    def repeatable(cls, run: Runner, sound: list[Row]) -> list[Row]:
        """Those samples, if making them again gives the same, whatever the global random state."""
        with _judged_elsewhere():
            for state in (1, 2):
                with global_random_state(state):
                    require_alike(run.rows(SEEDS), sound, "The same batch made again")
        return sound

    @pytest.fixture(scope="class")
    @classmethod
    def wide(cls, run: Runner, repeatable: list[Row]) -> list[Row]:
        """The samples of seeds 0 to 63, made at once."""
        return run.rows(WIDE)

    # --- A run -------------------------------------------------------------------------------------------

    def test_a_run_ends_with_a_result(self, run: Runner) -> None:
        """A run yields at least one step, and ends; its last step carries what the card calls its output."""
        require_result(run.steps(SEEDS), run.model.card.output)

    def test_steps_count_up_to_their_total(self, reference: list[Step]) -> None:
        """``Step.index`` begins at 1 or later and grows up to ``Step.total``, which never grows."""
        indices = [step.index for step in reference]
        totals = [step.total for step in reference]
        assert indices[0] >= 1, f"The first step has index {indices[0]}; steps are counted from 1."
        assert indices == sorted(set(indices)), f"The steps are not in order: {indices}."
        assert totals == sorted(totals, reverse=True), f"The total grows on the way: {totals}."
        assert all(i <= total for i, total in zip(indices, totals, strict=True)), (
            f"An index lies beyond its total: {list(zip(indices, totals, strict=True))}."
        )

    def test_every_sample_has_its_row(self, reference: list[Step]) -> None:
        """Whatever a step carries, pictures, texts or facts, it carries one of it per sample."""
        require_rows(reference, len(SEEDS))

    def test_pictures_are_finite_and_in_range(self, run: Runner, reference: list[Step]) -> None:
        """Pictures, previews included, are floats (n, c, h, w) in [-1, 1], with 1, 3 or 4 channels."""
        if run.model.card.output != "image":
            pytest.skip(f"{run.model.card.id} makes no pictures")
        require_pictures(reference)

    def test_texts_are_text(self, run: Runner, reference: list[Step]) -> None:
        """Texts are strings that can be written as UTF-8."""
        if run.model.card.output != "text":
            pytest.skip(f"{run.model.card.id} makes no texts")
        require_texts(reference)

    def test_facts_can_be_recorded(self, reference: list[Step]) -> None:
        """What a step tells about each sample is a mapping that JSON can hold."""
        require_facts(reference)

    def test_gradients_are_not_kept(self, reference: list[Step]) -> None:
        """No picture carries a graph: it would hold the memory of everything that made it."""
        for step in reference:
            assert step.images is None or not step.images.requires_grad, "A picture requires a gradient."

    # --- A sample is a property of its seed --------------------------------------------------------------

    def test_the_same_seed_makes_the_same_sample(self, run: Runner, sound: list[Row]) -> None:
        """Making a batch twice gives the same samples: nothing is left over from the run before."""
        with global_random_state(0):
            require_alike(run.rows(SEEDS), sound, "The same batch made again")

    def test_other_seeds_make_other_samples(self, run: Runner, sound: list[Row]) -> None:
        """Noise comes from each sample's own stream, so other seeds make other samples."""
        rows = run.rows(range(8))
        if isinstance(rows[0], str):
            assert len(set(rows)) > 1, f"Eight seeds all made {rows[0]!r}."
            return
        for i, one in enumerate(rows):
            for j, other in enumerate(rows[:i]):
                assert difference(one, other) > 0, f"Seeds {j} and {i} made the same picture."

    def test_global_random_state_is_not_used(self, run: Runner, sound: list[Row]) -> None:
        """All randomness comes from ``batch.noise``, none from global generators."""
        made = []
        for state in (1, 2):
            with global_random_state(state):
                made.append(run.rows(SEEDS))
        require_alike(made[1], made[0], "The same batch under other global seeds")

    def test_global_random_state_is_left_alone(self, run: Runner, reference: list[Step]) -> None:
        """A run neither draws from the global generators nor seeds them: they belong to the caller."""
        with global_random_state(5):
            expected = global_random_values()
        with global_random_state(5):
            run.steps(SEEDS)
            found = global_random_values()
        changed = [
            name for name, a, b in zip(("random", "numpy", "torch"), found, expected, strict=True) if a != b
        ]
        assert not changed, f"The global random state of {', '.join(changed)} has changed."

    @pytest.mark.parametrize("n", [1, 5])
    def test_a_sample_is_the_same_in_any_batch(self, run: Runner, wide: list[Row], n: int) -> None:
        """Sample i of a batch of 1 or 5 is sample i of a batch of 64, to 1e-4."""
        require_alike(run.rows(range(n)), wide[:n], f"A batch of {n}, compared with one of {len(WIDE)},")

    @pytest.mark.parametrize("batch_size", [1, 2, 5])
    def test_a_sample_is_the_same_for_any_batch_size(
        self, run: Runner, wide: list[Row], batch_size: int
    ) -> None:
        """However the core splits a run, sample i is the same, to 1e-4."""
        samples = run.model.generate(run.prompt, n=5, seed=0, batch_size=batch_size, **run.options)
        rows = [sample.image if sample.image is not None else sample.text or "" for sample in samples]
        require_alike(rows, wide[:5], f"A run of 5 in batches of {batch_size}")

    def test_the_order_of_seeds_does_not_matter(self, run: Runner, repeatable: list[Row]) -> None:
        """A sample does not depend on its place in the batch."""
        require_alike(run.rows(SEEDS[::-1])[::-1], repeatable, "The batch in reverse order")

    def test_prompts_of_a_batch_do_not_mix(self, run: Runner, repeatable: list[Row]) -> None:
        """Row i follows prompt i, whatever the other prompts of its batch."""
        if run.model.card.prompt == "none":
            pytest.skip(f"{run.model.card.id} takes no prompt")
        prompts = [run.prompt or "one", "another, somewhat longer prompt"]
        together = run.rows((0, 1), prompt=prompts)
        for i, prompt in enumerate(prompts):
            require_alike(run.rows((i,), prompt=prompt), together[i : i + 1], f"Prompt {i} alone")

    def test_options_given_per_sample_do_not_mix(self, run: Runner, repeatable: list[Row]) -> None:
        """Row i follows value i of an option declared ``each``, whatever the other values of its batch."""
        pairs = {
            option.name: values
            for option in run.model.card.options.values()
            if option.each and len(values := _accepted(run, option)) > 1
        }
        if not pairs:
            pytest.skip(f"{run.model.card.id} has no option that is given per sample")
        for name, values in pairs.items():
            together = run.rows((0,) * len(values), **{name: values})
            for i, value in enumerate(values):
                alone = run.rows((0,), **{name: value})
                require_alike(alone, together[i : i + 1], f"{name} = {value!r} alone")

    # --- What a run leaves behind ------------------------------------------------------------------------

    def test_the_batch_is_left_as_it_was(self, run: Runner, reference: list[Step]) -> None:
        """A batch belongs to the core: its options, prompts and seeds are only read."""
        batch = run.batch(SEEDS)
        before = (dict(vars(batch.options)), batch.prompts, batch.noise.seeds)
        for _ in drive(run.model.generator, batch):
            pass
        after = (dict(vars(batch.options)), batch.prompts, batch.noise.seeds)
        assert after == before, f"The batch was {before}; the run made it {after}."

    def test_closing_a_run_frees_it(self, run: Runner, reference: list[Step]) -> None:
        """Cancelling is closing the iterator: the run stops there and lets go of its batch."""
        with older_objects_ignored():
            batch = run.batch(SEEDS)
            alive: weakref.ref[Batch] = weakref.ref(batch)
            steps = start(run.model.generator, batch)
            advance(steps)
            close(steps)
            assert advance(steps) is None or not hasattr(steps, "close"), "The run goes on after its end."
            del steps, batch
            gc.collect()
            assert alive() is None, "The batch of a run that was closed is still held."

    def test_closing_a_run_leaves_nothing_behind(self, run: Runner, repeatable: list[Row]) -> None:
        """A run that was cancelled does not change the next one."""
        steps = start(run.model.generator, run.batch((7, 8)))
        advance(steps)
        close(steps)
        require_alike(run.rows(SEEDS), repeatable, "A batch made after a run that was closed")

    def test_torch_is_left_as_it_was(self, run: Runner, reference: list[Step]) -> None:
        """Torch's global settings belong to the caller, between two steps as after the last."""
        before = torch_settings()
        for step in drive(run.model.generator, run.batch(SEEDS)):
            require_settings(before, f"after step {step.index}")
        require_settings(before, "after the run")

    def test_memory_does_not_grow_with_the_number_of_samples(self, run: Runner, sound: list[Row]) -> None:
        """Nothing of a batch is kept once it is done: after six batches as much is alive as after two."""
        held = []
        with older_objects_ignored():
            samples = run.model.generate(run.prompt, n=12, seed=0, batch_size=2, **run.options)
            for number, sample in enumerate(samples, start=1):
                del sample
                if number in (4, 12):
                    held.append(tensor_bytes())
        assert held[1] <= held[0], f"Four batches left {held[1] - held[0]} bytes of tensors behind."

    # --- Options and prompts -----------------------------------------------------------------------------

    def test_every_value_the_card_names_can_be_used(self, run: Runner, sound: list[Row]) -> None:
        """Each option runs at its default, its bounds and its enumerated values.

        A value that does not fit this model, or the other options, is refused with an OptionError.
        """
        for option in run.model.card.options.values():
            for value in _named_values(option):
                run.model.plan(run.prompt, seed=0, **{option.name: value})
                if option.name in run.options:
                    continue
                try:
                    steps = run.steps((0,), **{option.name: value})
                except OptionError:
                    continue
                except Exception as error:
                    raise AssertionError(f"{option.flag} {value}: {type(error).__name__}: {error}") from error
                require_result(steps, run.model.card.output)
                require_sound(steps, 1)

    def test_options_out_of_range_never_reach_the_generator(
        self, run: Runner, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the card does not allow is refused before a generator runs."""
        monkeypatch.setattr(run.model, "generator", _Untouchable())
        for option in run.model.card.options.values():
            for value in _unfit_values(option):
                with pytest.raises(OptionError):
                    list(run.model.generate(run.prompt, seed=0, **{**run.options, option.name: value}))

    def test_options_explain_themselves(self, run: Runner) -> None:
        """Every option has a description: it is the help a user gets."""
        mute = [option.name for option in run.model.card.options.values() if not option.description]
        assert not mute, f"Options without a description: {', '.join(mute)}."

    def test_any_prompt_is_answered_or_refused(self, run: Runner, sound: list[Row]) -> None:
        """An empty prompt, a very long one, one in any script makes a sample or is refused by OptionError."""
        if run.model.card.prompt == "none":
            pytest.skip(f"{run.model.card.id} takes no prompt")
        for kind, prompt in PROMPTS.items():
            try:
                steps = run.steps((0,), prompt=prompt)
            except OptionError:
                continue
            except Exception as error:
                raise AssertionError(f"A prompt that is {kind}: {type(error).__name__}: {error}") from error
            require_result(steps, run.model.card.output)
            require_sound(steps, 1)

    # --- Abilities ---------------------------------------------------------------------------------------

    def test_abilities_that_are_claimed_are_there(self, run: Runner) -> None:
        """Whatever ability the card names, the generator has its protocol's methods."""
        card, generator = run.model.card, run.model.generator
        missing = [name for name in card.abilities if not isinstance(generator, PROTOCOLS[name])]
        assert not missing, f"The card of {card.id} names what its generator cannot do: {', '.join(missing)}."

    def test_abilities_that_are_there_are_claimed(self, run: Runner) -> None:
        """Whatever ability the generator has, the card names: else nobody will find it."""
        card, generator = run.model.card, run.model.generator
        unnamed = [
            name for name, p in PROTOCOLS.items() if isinstance(generator, p) and name not in card.abilities
        ]
        assert not unnamed, f"The card of {card.id} does not name what it can do: {', '.join(unnamed)}."

    @pytest.fixture(scope="class")
    @classmethod
    def scores(cls, run: Runner, sound: list[Row]) -> Score:
        """The scores of two of the model's own samples."""
        return _score(run, sound[:2], (5, 6))

    def test_scores_are_finite(self, scores: Score) -> None:
        """A score is one finite float64 per item, in nats, with the size that a rate is taken over."""
        assert scores.nats.shape == scores.size.shape == (2,), "There is not one score and one size per item."
        assert scores.nats.dtype == torch.float64, f"Scores are {scores.nats.dtype}, not float64."
        assert torch.isfinite(scores.nats).all(), f"Scores are not finite: {scores.nats.tolist()}."
        assert (scores.size > 0).all(), f"A rate cannot be taken over {scores.size.tolist()}."

    def test_a_score_is_the_same_in_any_batch(self, run: Runner, sound: list[Row], scores: Score) -> None:
        """A score belongs to an item and its noise stream alone."""
        alone = _score(run, sound[1:2], (6,)).nats
        assert torch.allclose(alone, scores.nats[1:], rtol=SCORE_TOLERANCE, atol=0), (
            f"An item scored {alone.item()} nats alone, {scores.nats[1].item()} nats in a batch of two."
        )

    # --- Being loaded ------------------------------------------------------------------------------------

    def test_importing_the_plugin_is_cheap(self, run: Runner) -> None:
        """The module with the hooks imports nothing heavy: torch belongs inside the functions."""
        module = next(p.module for p in installed_plugins() if p.name == run.model.card.plugin)
        heavy = sorted(imported_by(module).intersection(HEAVY))
        assert not heavy, f"Importing {module} imports {', '.join(heavy)}."

    def test_weights_that_are_here_need_no_network(
        self, run: Runner, sound: list[Row], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Once its weights are on this machine, a model is loaded and run without a network."""
        attempts: list[str] = []

        def refuse(*arguments: object) -> None:
            attempts.append(str(arguments[-1]))
            raise OSError("There is no network in this test.")

        monkeypatch.setattr(socket.socket, "connect", refuse)
        monkeypatch.setattr(socket.socket, "connect_ex", refuse)
        monkeypatch.setattr(socket, "getaddrinfo", refuse)
        model = load(run.model.card, device="cpu")
        Runner(model, run.prompt, run.options).rows((0,))
        assert not attempts, f"The network was asked for {', '.join(attempts)}."

    def test_the_dtype_it_names_is_the_one_it_computes_in(self, run: Runner, repeatable: list[Row]) -> None:
        """``dtype`` is a torch type; the one asked for is honoured or refused, and says what is computed."""
        name = run.model.dtype
        assert name in DTYPES, f"The generator's dtype is {name}, not one of {', '.join(DTYPES)}."
        runners, made = {}, {}
        for asked in dict.fromkeys((name, "float32", "bfloat16")):
            try:
                model = load(run.model.card, device="cpu", dtype=asked)
            except ZooError:
                continue
            assert model.dtype == asked, f"Asked for {asked}, the generator says {model.dtype}."
            runners[asked] = Runner(model, run.prompt, run.options)
            made[asked] = runners[asked].rows(SEEDS)
        assert name in made, f"It chooses {name} by itself, and refuses it when asked for it."
        require_alike(made[name], repeatable, f"The batch made in {name} as asked, not as chosen,")
        if "bfloat16" not in made or "float32" not in made or run.model.card.output != "image":
            return
        same = "Asked for bfloat16, it says so, and computes what it computes in float32."
        if run.model.card.family != "autoregressive":
            assert max(map(difference, made["bfloat16"], made["float32"])) > 0, same
        elif "score" in run.model.card.abilities:
            # Tokens that are drawn do not show so small a difference; how likely they are does.
            coarse, fine = (_score(runners[t], repeatable[:2], (5, 6)).nats for t in ("bfloat16", "float32"))
            assert not torch.equal(coarse, fine), same

    def test_the_batch_size_it_likes_is_a_number(self, run: Runner) -> None:
        """A generator's ``batch_size``, where there is one, is a whole number of at least 1."""
        size = getattr(run.model.generator, "batch_size", 1)
        assert type(size) is int, f"batch_size is {size!r}."
        assert size >= 1, f"batch_size is {size!r}."

    # --- Being recorded ----------------------------------------------------------------------------------

    def test_a_saved_sample_can_be_made_again(
        self, run: Runner, repeatable: list[Row], tmp_path: Path
    ) -> None:
        """What a file says about its sample is enough to make the same sample again."""
        (sample,) = run.model.generate(run.prompt, seed=11, batch_size=1, **run.options)
        path = sample.save(tmp_path)
        then = read_record(path)
        plan = make_plan(
            run.model.card, then.prompt, n=None, seed=None, seeds=[then.seed], options=then.options
        )
        (again,) = run.model.make(plan, batch_size=1)
        match = compare(path, again)
        assert match.verdict != "different", match.sentence


class _Untouchable:
    """A generator that must not be called."""

    def generate(self, batch: Batch) -> Iterator[Step]:
        raise AssertionError(f"A value out of range reached the generator: {batch.options}.")


@contextmanager
def _judged_elsewhere() -> Iterator[None]:
    """Skip what cannot be judged of this generator; another check fails for the same reason."""
    try:
        yield
    except Exception as error:
        reason = str(error).partition("\n")[0]
        pytest.skip(f"cannot be judged: {reason}")


def _named_values(option: Option) -> list[Any]:
    """The values a card names for an option: its default, its bounds, its enumerated values."""
    if option.type == "boolean":
        return [True, False]
    if option.enum:
        return list(option.enum)
    bounds = (option.minimum, option.maximum)
    if option.type == "integer":
        # A bound may be written between two integers.
        bounds = (
            None if option.minimum is None else math.ceil(option.minimum),
            None if option.maximum is None else math.floor(option.maximum),
        )
    return list(dict.fromkeys(value for value in (option.default, *bounds) if value is not None))


def _accepted(run: Runner, option: Option) -> list[Any]:
    """Values of an option that the model takes: those its card names, and one more than the least."""
    values = _named_values(option)
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


def _unfit_values(option: Option) -> list[Any]:
    """Values that an option must refuse, whatever it is."""
    unfit: list[Any] = [object()]
    if option.minimum is not None:
        unfit.append(option.minimum - 1)
    if option.maximum is not None:
        unfit.append(option.maximum + 1)
    if option.enum:
        unfit.append("".join(option.enum) + "?")
    return unfit


def _score(run: Runner, rows: Sequence[Row], seeds: Sequence[int]) -> Score:
    """Score samples, as ``zoo score`` will: pictures in 8 bits, texts as they are."""
    scorer = run.model.generator
    if "score" not in run.model.card.abilities or not isinstance(scorer, Scorer):
        pytest.skip(f"{run.model.card.id} does not score")
    pictures = [row for row in rows if isinstance(row, torch.Tensor)]
    data: Any = (127.5 * (torch.stack(pictures) + 1)).round().to(torch.uint8) if pictures else rows
    with torch.inference_mode():
        return scorer.log_likelihood(data, Noise(seeds, run.model.device))
