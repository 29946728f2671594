"""Constrained texts are valid; without a constraint nothing changes; any plugin can make a mask."""

from __future__ import annotations

import json
import re

import pytest
import torch
from zoo_gpt.decoding.sampling import SamplingOptions, TokenSampler, distribution

import zoo_core as zoo
from zoo_core import Noise, OptionError, create_token_masks
from zoo_core.testing import write_plugin

COMPACT = {"x-guidance": {"whitespace_flexible": False}}
POSITION = {"type": "integer", "minimum": 0, "maximum": 99}
SCHEMAS = {
    "object": COMPACT
    | {
        "type": "object",
        "properties": {
            "name": {"type": "string", "maxLength": 8},
            "age": {"type": "integer", "minimum": 0, "maximum": 120},
        },
        "required": ["name", "age"],
        "additionalProperties": False,
    },
    "list": COMPACT
    | {"type": "array", "items": {"enum": ["red", "green", 7, None]}, "minItems": 1, "maxItems": 4},
    "nested": COMPACT
    | {
        "type": "object",
        "properties": {"ok": {"type": "boolean"}, "at": {"$ref": "#/$defs/point"}},
        "required": ["ok", "at"],
        "additionalProperties": False,
        "$defs": {"point": {"type": "array", "items": POSITION, "minItems": 2, "maxItems": 2}},
    },
}
VALID = {
    "object": lambda v: v.keys() == {"name", "age"} and len(v["name"]) <= 8 and 0 <= v["age"] <= 120,
    "list": lambda v: 1 <= len(v) <= 4 and all(each in ("red", "green", 7, None) for each in v),
    "nested": lambda v: (
        v.keys() == {"ok", "at"}
        and isinstance(v["ok"], bool)
        and len(v["at"]) == 2
        and all(0 <= each <= 99 for each in v["at"])
    ),
}


@pytest.fixture(scope="module")
def model(smollm2_folder):
    return zoo.load(smollm2_folder, device="cpu")


@pytest.mark.parametrize("name", SCHEMAS)
def test_every_draw_under_a_schema_is_valid(model, name):
    options = {"n": 200, "seed": 0, "max_tokens": 200, "json_schema": SCHEMAS[name]}
    for sample in model.generate("Write JSON:", **options):
        assert sample.record.metadata["ended"] == "eos"
        assert VALID[name](json.loads(sample.text)), sample.text


def test_a_constraint_is_compiled_once(model, monkeypatch):
    compiled = []

    def counted(language, source, vocabulary):
        compiled.append(source)
        return create_token_masks(language, source, vocabulary)

    monkeypatch.setattr("zoo_gpt.text.generator.create_token_masks", counted)
    texts = [s.text for s in model.generate("a", n=3, seed=0, regex="[xy]{9}", batch_size=1)]
    assert texts == [s.text for s in model.generate("a", n=3, seed=0, regex="[xy]{9}", batch_size=3)]
    for size in range(20):
        next(model.generate("a", seed=0, regex=f"z{{{size + 1}}}", max_tokens=2))
    assert compiled == ["[xy]{9}", *(f"z{{{size + 1}}}" for size in range(20))]


def test_a_regular_expression_matches_the_whole_text(model):
    for sample in model.generate("A date:", n=8, seed=0, regex=r"[12][0-9]{3}-[01][0-9] 😀"):
        assert re.fullmatch(r"[12][0-9]{3}-[01][0-9] 😀", sample.text)


def test_a_grammar_is_followed(model):
    grammar = 'start: "(" start ")" | "x"'
    for sample in model.generate("A tree:", n=8, seed=0, grammar=grammar, max_tokens=100):
        depth = sample.text.count("(")
        assert sample.record.metadata["ended"] != "eos" or sample.text == "(" * depth + "x" + ")" * depth


def test_rows_with_and_without_an_end_do_not_mix(model):
    together = [s.text for s in model.generate("a", n=6, seed=0, regex="(x|y{20})", batch_size=6)]
    alone = [s.text for s in model.generate("a", n=6, seed=0, regex="(x|y{20})", batch_size=1)]
    assert together == alone


class Only:
    """Allows two tokens."""

    def __init__(self) -> None:
        self.pushed: list[int] = []

    def allowed(self):
        allowed = torch.zeros(10, dtype=torch.bool)
        allowed[[2, 7]] = True
        return allowed

    def push(self, token):
        self.pushed.append(token)


def test_the_masked_distribution_is_renormalised_and_drawn_by_its_quantile_function():
    logits = torch.arange(10.0)[None] / 3
    options, noise = SamplingOptions(1.0, None, None), Noise([5])
    mask = Only()
    token = TokenSampler(options, [[0]], noise, 10, 1, [mask])(logits)
    expected = distribution(logits)[0, [2, 7]]
    u = float(Noise([5]).uniform(1)[0, 0])
    assert int(token) == (2 if u < float(expected[0] / expected.sum()) else 7)
    assert mask.pushed == token.tolist()


class Any(Only):
    """Allows all tokens."""

    def allowed(self):
        return torch.ones(10, dtype=torch.bool)


def test_a_mask_that_allows_everything_changes_nothing():
    options, seeds = SamplingOptions(0.7, 8, 0.9), range(50)
    logits = torch.randn(50, 10, generator=torch.Generator().manual_seed(0))
    plain = TokenSampler(options, [[0]] * 50, Noise(seeds), 10, 1)(logits)
    masked = TokenSampler(options, [[0]] * 50, Noise(seeds), 10, 1, [Any() for _ in seeds])(logits)
    assert torch.equal(plain, masked)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"json_schema": "{"}, "--json-schema: "),
        ({"json_schema": {"type": "nonsense"}}, "--json-schema: "),
        ({"regex": "("}, "--regex: .*unclosed group"),
        ({"grammar": "start: ("}, "--grammar: "),
        ({"grammar": 'a: "x"'}, "--grammar: "),
        ({"regex": "a", "grammar": 'start: "x"'}, "one constraint, not --regex and --grammar"),
    ],
)
def test_wrong_constraints_are_refused(model, options, problem):
    with pytest.raises(OptionError, match=problem) as caught:
        next(model.generate("a", seed=0, **options))
    assert caught.value.remedy.startswith("Give ")


def test_another_plugin_fills_the_hook(model, plugin_site):
    manifest = """schema = 1
[plugin]
name = "zoo-ends"
summary = "Grammars that begin with ends:"
constraints = ["grammar"]
"""
    source = """from zoo_core import hookimpl

@hookimpl
def zoo_create_token_masks(language, source, vocabulary):
    return (lambda: Ends(vocabulary)) if source == "ends" else None

class Ends:
    def __init__(self, vocabulary):
        self.vocabulary, self.ended = vocabulary, False
    def allowed(self):
        import torch
        allowed = torch.zeros(len(self.vocabulary.tokens), dtype=torch.bool)
        allowed[list(self.vocabulary.eos)] = True
        return None if self.ended else allowed
    def push(self, token):
        self.ended = True
"""
    write_plugin(plugin_site, "zoo-ends", manifest, source)
    (sample,) = model.generate("a", seed=0, grammar="ends")
    assert (sample.text, sample.record.metadata["tokens"]) == ("", 1)
    (sample,) = model.generate("a", seed=0, grammar='start: "x"')
    assert sample.text == "x"


# --- Log-probabilities -------------------------------------------------------------------------------------


def test_log_probabilities_are_those_of_the_network(model):
    options = {"temperature": 0.5, "top_k": 5, "regex": "(?s:.)*", "max_tokens": 10}
    (sample,) = model.generate("the cat", seed=1, logprobs=3, **options)
    rows = sample.record.metadata["logprobs"]
    tokens = model.generator.tokenizer.encode("the cat")
    start, drawn = len(tokens), [row["token"] for row in rows]
    with torch.inference_mode():
        log_p = model.generator.transformer(torch.tensor([tokens + drawn]))[0, start - 1 : -1].log_softmax(-1)
    assert [row["logprob"] for row in rows] == pytest.approx(
        log_p.gather(1, torch.tensor(drawn)[:, None])[:, 0].tolist(), abs=1e-4
    )
    assert [[each["token"] for each in row["top"]] for row in rows] == log_p.topk(3).indices.tolist()
    assert len(rows) == sample.record.metadata["tokens"]


def test_log_probabilities_change_no_text(model):
    options = {"n": 3, "seed": 0, "max_tokens": 12}
    plain = [sample.text for sample in model.generate("a", **options)]
    assert [sample.text for sample in model.generate("a", **options, logprobs=0)] == plain
