"""Generate, score and predict texts through zoo_core.load()."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from zoo_gpt.decoding.decode import decode

import zoo_core as zoo
from zoo_core import Noise, OptionError
from zoo_core.testing import GeneratorConformance

CONTEXT = 48
CORPUS = ["the cat sits on the mat 😀 and the dog sits on the cat 😀 " * 20]


@pytest.fixture(scope="module")
def model(gpt2_folder):
    return zoo.load(gpt2_folder, device="cpu")


def texts(model: zoo.Model, *args, **options) -> list[str]:
    return [sample.text for sample in model.generate(*args, **{"max_tokens": 12, "seed": 0} | options)]


class TestConformance(GeneratorConformance):
    options = {"max_tokens": 6}

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, gpt2_folder: Path) -> zoo.Model:
        return zoo.load(gpt2_folder, device="cpu")


def test_greedy_text_matches_transformers(gpt2_folder, model):
    theirs = AutoModelForCausalLM.from_pretrained(gpt2_folder)
    tokenizer = model.generator.tokenizer
    ids = tokenizer.encode("the cat")
    made = theirs.generate(torch.tensor([ids]), max_new_tokens=12, do_sample=False, pad_token_id=0)

    assert texts(model, "the cat", temperature=0.0) == [tokenizer.decode(made[0, len(ids) :].tolist())]


def test_embeddings_match_transformers(gpt2_folder):
    theirs = AutoModelForCausalLM.from_pretrained(gpt2_folder, attn_implementation="eager")
    model = zoo.load(gpt2_folder, device="cpu", dtype="float32")
    found = model.embed(["the cat", "", "the dog sits"])
    for vector, count, text in zip(found.vectors, found.tokens, ("the cat", "", "the dog sits"), strict=True):
        ids = [model.generator.tokenizer.bos, *model.generator.tokenizer.encode(text)]
        hidden = theirs.transformer(torch.tensor([ids])).last_hidden_state
        torch.testing.assert_close(vector, hidden[0].mean(0))
        assert count == len(ids)
    with pytest.raises(OptionError, match=r"has \d+ tokens; an embedding is of 1 to 48"):
        model.embed(["the cat " * 60])


def test_prompts_of_different_lengths_are_continued_as_if_alone(model):
    prompts = ["the", "the cat sits on the mat and the dog", "😀"]
    together = texts(model, prompts, batch_size=3)
    alone = [texts(model, prompt, seed=seed)[0] for seed, prompt in enumerate(prompts)]
    assert together == alone
    assert len(set(together)) == 3


def test_a_text_ends_before_the_stop_string(model):
    (whole,) = texts(model, "the cat", max_tokens=30)
    stop = whole[5:8]
    sample = next(model.generate("the cat", seed=0, max_tokens=30, stop=stop))
    assert sample.text == whole[: whole.index(stop)]
    assert sample.record.metadata["ended"] == "stop"


def test_steps_never_show_part_of_the_stop_string(model):
    (whole,) = texts(model, "the cat", max_tokens=30)
    shown = []
    options = {"seed": 0, "max_tokens": 30, "stop": whole[5:8]}
    (sample,) = model.generate("the cat", **options, on_step=lambda p: shown.append(p.step.texts[0]))
    assert all(sample.text.startswith(text) for text in shown)


@torch.inference_mode()
def test_an_eos_token_ends_the_text(model, monkeypatch):
    generator = model.generator
    prompt = generator.tokenizer.encode("the cat")
    greedy = decode(generator.transformer, [prompt], 12, lambda logits: logits.argmax(-1))
    ids = [int(token) for token in greedy]
    end = next(place for place, token in enumerate(ids) if token not in ids[:place] and place > 1)
    monkeypatch.setattr(generator.tokenizer, "eos", frozenset([ids[end]]))

    sample = next(model.generate("the cat", seed=0, temperature=0.0))

    assert sample.text == generator.tokenizer.decode(ids[:end])
    assert sample.record.metadata == {"tokens": end + 1, "prompt_tokens": len(prompt), "ended": "eos"}


def test_an_empty_prompt_begins_a_text(model):
    assert texts(model, n=2)[0] != ""
    assert texts(model, "", n=2) == texts(model, n=2)


def test_a_prompt_longer_than_the_context_is_refused_with_the_numbers(model):
    with pytest.raises(OptionError, match=rf"tokens, but the model's context is {CONTEXT}") as caught:
        texts(model, "the cat sits " * 100)
    assert "--overflow slide" in caught.value.remedy


def test_overflow_slide_keeps_the_end_of_the_prompt(model):
    long = "the dog " * 100 + "the cat sits on"
    ids = model.generator.tokenizer.encode(long)
    end = model.generator.tokenizer.decode(ids[-(CONTEXT - 12) :])
    assert texts(model, long, overflow="slide") == texts(model, end)


def test_a_text_that_fills_the_context_is_recorded_as_such(model):
    sample = next(model.generate("the cat", seed=0, max_tokens=10_000, temperature=0.0))
    ids = len(model.generator.tokenizer.encode("the cat"))
    assert sample.record.metadata == {"tokens": CONTEXT - ids, "prompt_tokens": ids, "ended": "context"}


def test_a_template_contains_the_prompt(model):
    assert texts(model, "cat", template="the {prompt}") == texts(model, "the cat")


def test_chat_without_a_template_is_refused(model):
    with pytest.raises(zoo.ZooError, match="chat"):
        texts(model, "hello", chat=True)


@pytest.mark.parametrize("prompt", ["\x00\x01\x02 \x7f", "😀" * 5, "é\u0301", "\n\n\n"])
def test_odd_prompts_are_accepted(model, prompt):
    assert isinstance(texts(model, prompt)[0], str)


def test_a_prompt_that_is_not_text_is_refused(model):
    with pytest.raises(OptionError, match="UTF-8"):
        texts(model, "caf\udce9")


def test_the_probabilities_of_the_next_token_sum_to_one(model):
    prediction = model.generator.next_token("the cat")
    assert float(prediction.log_probabilities.exp().sum()) == pytest.approx(1, abs=1e-5)


def test_the_chain_rule_sums_to_the_score(model):
    text = "the cat sits on the mat 😀"
    chain = model.generator.next_token(text).chain()
    score = model.generator.log_likelihood([text], Noise([0]))
    assert sum(nats for _, _, nats in chain) == pytest.approx(float(score.nats[0]), rel=1e-5)
    assert len(chain) == int(score.size[0])
    assert all(nats < 0 and math.isfinite(nats) for _, _, nats in chain)


def test_a_long_text_is_scored(model):
    score = model.generator.log_likelihood(CORPUS, Noise([0]))
    assert int(score.size[0]) > 5 * CONTEXT
    assert math.isfinite(float(score.nats[0]))


def test_an_embedded_model_without_a_chat_template_is_named():
    with pytest.raises(OptionError, match=r"^gpt-kjv is not a chat model"):
        list(zoo.load("gpt-kjv", device="cpu").generate("Who are you?", chat=True))
