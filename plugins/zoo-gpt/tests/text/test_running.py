"""Continuous batching: texts join and leave at every token, and are those that they are alone."""

from __future__ import annotations

import random

import pytest
import torch
from zoo_gpt.decoding.running_batch import ROOM, RunningSequences

from zoo_core import ContinuousRun, OptionError, load

PROMPTS = (
    "In the beginning",
    "And",
    "",
    "The LORD said unto Moses, Speak unto the children of Israel, saying",
)


@pytest.fixture(scope="module")
def model():
    return load("gpt-kjv")


def alone(model, request) -> str:
    (sample,) = model.make([request])
    return sample.text


def requests(model, n: int, **options):
    return [
        next(
            iter(
                model.plan(
                    PROMPTS[seed % 4] or None, seed=seed, **{"max_tokens": 3 + 7 * seed % 23} | options
                )
            )
        )
        for seed in range(n)
    ]


def run(model, waiting, most: int, drop=()):
    """Run requests, at most so many at once, joining as others leave; return texts by seed."""
    running, texts, there = ContinuousRun(model), {}, {}
    waiting = list(waiting)
    chance = random.Random(0)
    while waiting or there:
        while waiting and len(there) < most and (not there or chance.random() < 0.7):
            request = waiting.pop(0)
            there[running.join(request)] = request
        for number in [number for number, request in there.items() if request.seed in drop]:
            running.leave(number)
            del there[number]
        for number, (step, sample) in running.step().items():
            assert (sample is not None) == (step.index == step.total)
            if sample is not None:
                texts[there.pop(number).seed] = sample.text
    return texts


def test_texts_that_come_and_go_are_those_that_are_made_alone(model):
    wanted = requests(model, 24)
    assert run(model, wanted, 6) == {request.seed: alone(model, request) for request in wanted}


def test_a_text_is_the_same_alone_and_among_64(model):
    wanted = requests(model, 64, max_tokens=6)
    assert run(model, wanted, 64) == {request.seed: alone(model, request) for request in wanted}


def test_each_text_has_its_own_options(model):
    options = (
        {"temperature": 0.0},
        {"top_k": 5, "logprobs": 2},
        {"repetition_penalty": 1.3, "stop": "the"},
        {"regex": "[a-z ]+"},
    )
    wanted = [
        request
        for seed, each in enumerate(options)
        for request in model.plan("And the", seeds=[seed], max_tokens=12, **each)
    ]
    assert run(model, wanted, 4) == {request.seed: alone(model, request) for request in wanted}


def test_a_text_that_is_dropped_changes_no_other(model):
    wanted = requests(model, 12)
    kept = {request.seed: alone(model, request) for request in wanted if request.seed % 3}
    assert run(model, wanted, 5, drop=range(0, 12, 3)) == kept


def test_a_refused_prompt_leaves_the_others_alone(model):
    running = ContinuousRun(model)
    (good,) = model.plan("And", seeds=[1], max_tokens=4)
    number = running.join(good)
    (bad,) = model.plan("And it came to pass " * 200, seeds=[1])
    with pytest.raises(OptionError, match="context"):
        running.join(bad)
    steps = [running.step() for _ in range(4)]
    assert steps[-1][number][1].text == alone(model, good)
    assert running.step() == {}


@torch.inference_mode()
def test_memory_follows_the_longest_sequence(model):
    sequences = RunningSequences(model.generator.transformer)
    logits = [sequences.join(list(range(length))) for length in (3, 40, 5)]
    sequences.append(torch.cat(logits).argmax(-1))
    sequences.leave(1)
    for _ in range(2 * ROOM + 10):
        sequences.append(sequences.next_logits().argmax(-1))
    assert sequences._end - max(sequences._filled) < ROOM
    assert sequences._kv.shape[2] <= 4
    assert sequences._kv.shape[4] <= 6 * ROOM
    for row in (1, 0):
        sequences.leave(row)
    assert sequences._kv.numel() == 0
