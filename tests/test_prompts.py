"""Prompts with seeds and options of their own, and conversations, from a file to the batches."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from zoo_core import Checkpoint, EmbeddedWeights, Model, ModelCard, Option, OptionError, Step
from zoo_core.cli.prompts import read_prompts
from zoo_core.running.planning import make_plan

HELLO = {"role": "user", "content": "Hello"}
CARD = ModelCard(
    id="toy",
    plugin="zoo-core",
    summary="Echoes",
    family="toy",
    output="text",
    license="mit",
    weights=EmbeddedWeights(Path("weights")),
    prompt="optional",
    capabilities=("chat",),
    options={
        "steps": Option("steps", "integer", default=2, minimum=1),
        "label": Option("label", "integer", minimum=0, per_sample=True),
        "schema": Option("schema", "string", format="content"),
    },
)


class Echo:
    """A generator that remembers its batches."""

    def __init__(self) -> None:
        self.batches: list[Any] = []

    def generate(self, batch):
        self.batches.append(batch)
        yield Step(texts=tuple(map(str, batch.noise.seeds)))


@pytest.fixture
def lines(tmp_path):
    """``lines(*objects)`` writes a file of prompts and reads it."""

    def read(*objects):
        path = tmp_path / "prompts.jsonl"
        path.write_text("".join(f"{o if isinstance(o, str) else json.dumps(o)}\n" for o in objects))
        return read_prompts((), str(path))

    return read


def plan(prompts, **given):
    arguments = {"n": None, "seed": 100, "seeds": None, "options": {}} | given
    return [(r.seed, r.prompt, r.options["steps"]) for r in make_plan(CARD, prompts, **arguments)]


def test_a_line_may_have_a_seed_and_options(lines):
    prompts = lines("plain", {"prompt": "a", "seed": 7}, {"messages": [HELLO], "steps": 5})
    assert plan(prompts, options={"steps": 3}) == [(100, "plain", 3), (7, "a", 3), (102, (HELLO,), 5)]


def test_the_seed_of_a_line_counts_up_when_its_prompt_comes_again(lines):
    prompts = lines({"prompt": "a", "seed": 7}, "b")
    assert [seed for seed, *_ in plan(prompts, n=5)] == [7, 101, 8, 103, 9]


def test_lines_of_other_options_go_into_other_batches(lines):
    prompts = lines(*({"prompt": "p", "steps": s, "label": i} for i, s in enumerate([2, 2, 3, 3, 3, 2])))
    generator = Echo()
    model = Model(CARD, Checkpoint("x", {}, "sha256:0"), generator, torch.device("cpu"), "1.0")
    samples = list(model.generate(prompts, seed=0, batch_size=2))
    assert [(b.options.steps, b.options.label) for b in generator.batches] == [
        (2, (0, 1)),
        (3, (2, 3)),
        (3, (4,)),
        (2, (5,)),
    ]
    assert [sample.text for sample in samples] == list("012345")


def test_batches_hold_texts_and_conversations_apart(lines):
    generator = Echo()
    model = Model(CARD, Checkpoint("x", {}, "sha256:0"), generator, torch.device("cpu"), "1.0")
    list(model.generate(["a", [HELLO]], batch_size=2))
    (batch,) = generator.batches
    assert (batch.prompts, batch.conversations) == (("a", None), (None, (HELLO,)))


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("{", "line 2: not a JSON object"),
        ({"prompt": 3}, "line 2: not a JSON object"),
        ({"prompt": "a", "messages": [HELLO]}, "line 2: not a JSON object"),
        ({"messages": []}, "line 2: A conversation has no messages"),
        ({"messages": [{"role": "x", "content": ""}]}, "line 2: Message 1 has the role 'x'"),
        ({"prompt": "a", "seed": -1}, "line 2: "),
        ({"prompt": "a", "seed": "7"}, "line 2: "),
        ({"prompt": "a", "stps": 1}, "line 2: toy has no option 'stps'"),
        ({"prompt": "a", "steps": 0}, "line 2: --steps does not accept 0"),
        ({"prompt": "a", "label": [1, 2]}, "line 2: The option 'label' has several values"),
    ],
)
def test_a_wrong_line_is_named(lines, line, problem):
    with pytest.raises(OptionError, match=problem):
        plan(lines("first", line))


def test_seeds_are_not_given_twice(lines):
    with pytest.raises(OptionError, match=r"Seeds were given twice: .*line 1 has one too"):
        plan(lines({"prompt": "a", "seed": 7}), seed=None, seeds=[1])


def test_only_chat_models_take_conversations():
    with pytest.raises(OptionError, match="cannot answer a conversation"):
        make_plan(replace(CARD, capabilities=()), [HELLO], n=None, seed=0, seeds=None, options={})


def test_the_content_of_a_file_is_the_value_of_an_option(tmp_path):
    from zoo_core.cli.flags import OptionValue

    option = CARD.options["schema"]
    path = tmp_path / "schema.json"
    path.write_text('\ufeff{"é": 1}')
    assert OptionValue(option).convert(str(path), None, None) == '{"é": 1}'
    assert option.check({"é": [1, None]}) == '{"é": [1, null]}'
    with pytest.raises(OptionError, match="--schema does not accept"):
        option.check({"a": float("nan")})
