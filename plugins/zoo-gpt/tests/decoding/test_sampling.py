"""Every filter as its paper defines it and transformers implements it, and the draw."""

from __future__ import annotations

import math

import pytest
import torch
from transformers.generation.logits_process import (
    LogitsProcessorList,
    MinPLogitsWarper,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from zoo_gpt.decoding.sampling import TOP_P_CANDIDATES, distribution, draw

INF = math.inf


@pytest.fixture
def logits():
    return 4 * torch.randn(5, 8 * TOP_P_CANDIDATES + 300, generator=torch.Generator().manual_seed(0))


def logs(*probabilities):
    return torch.tensor([probabilities]).log()


def kept(probabilities):
    """Return the ids with positive probability in the first row."""
    return probabilities[0].nonzero().flatten().tolist()


def test_without_options_the_distribution_is_the_softmax(logits):
    torch.testing.assert_close(distribution(logits), logits.softmax(-1))


@pytest.mark.parametrize(
    ("options", "theirs"),
    [
        ({"temperature": 0.7}, [TemperatureLogitsWarper(0.7)]),
        ({"top_k": 40}, [TopKLogitsWarper(40)]),
        ({"top_k": 10**6}, [TopKLogitsWarper(10**6)]),
        ({"top_p": 0.9}, [TopPLogitsWarper(0.9)]),
        ({"top_p": 0.001}, [TopPLogitsWarper(0.001)]),
        ({"temperature": 50.0, "top_p": 0.9}, [TemperatureLogitsWarper(50.0), TopPLogitsWarper(0.9)]),
        ({"min_p": 0.05}, [MinPLogitsWarper(0.05)]),
        (
            {"temperature": 1.4, "top_k": 300, "top_p": 0.95, "min_p": 0.02},
            [
                TemperatureLogitsWarper(1.4),
                TopKLogitsWarper(300),
                TopPLogitsWarper(0.95),
                MinPLogitsWarper(0.02),
            ],
        ),
    ],
    # Not the warpers: their repr has an address, and every process must collect the same names.
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_every_filter_matches_transformers(logits, options, theirs):
    expected = LogitsProcessorList(theirs)(None, logits.clone()).softmax(-1)

    ours = distribution(logits, **options)

    assert torch.equal(ours > 0, expected > 0)
    torch.testing.assert_close(ours, expected)


def test_the_repetition_penalty_matches_transformers(logits):
    tokens = torch.randint(logits.shape[1], (5, 400), generator=torch.Generator().manual_seed(1))
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter_(1, tokens, True)

    ours = distribution(logits, seen=seen, repetition_penalty=1.3)

    expected = RepetitionPenaltyLogitsProcessor(1.3)(tokens, logits.clone()).softmax(-1)
    torch.testing.assert_close(ours, expected)


def test_the_repetition_penalty_lowers_positive_and_negative_logits():
    logits, seen = torch.tensor([[2.0, -2.0, 0.5]]), torch.tensor([[True, True, False]])

    ours = distribution(logits, seen=seen, repetition_penalty=2.0)

    torch.testing.assert_close(ours, torch.tensor([[1.0, -4.0, 0.5]]).softmax(-1))


def test_the_repetition_penalty_applies_to_greedy_decoding():
    seen = torch.tensor([[True, False]])

    assert kept(distribution(torch.tensor([[2.0, 1.5]]), temperature=0, seen=seen)) == [0]
    penalised = distribution(torch.tensor([[2.0, 1.5]]), temperature=0, seen=seen, repetition_penalty=2.0)
    assert kept(penalised) == [1]


def test_top_k_keeps_exactly_k_tokens_and_ties_go_to_the_lowest_ids():
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0, 0.0]])

    assert kept(distribution(logits, top_k=3)) == [1, 2, 3]
    assert kept(distribution(torch.zeros(1, 2 * TOP_P_CANDIDATES), top_k=7)) == list(range(7))


def test_top_k_of_one_is_greedy(logits):
    assert torch.equal(distribution(logits, top_k=1), distribution(logits, temperature=0))


def test_top_p_keeps_the_token_that_crosses_the_threshold():
    logits = logs(0.125, 0.5, 0.25, 0.125)

    assert kept(distribution(logits, top_p=0.4)) == [1]
    assert kept(distribution(logits, top_p=0.51)) == [1, 2]
    assert kept(distribution(logits, top_p=0.76)) == [0, 1, 2]
    assert kept(distribution(logits, top_p=0.99)) == [0, 1, 2, 3]


def test_a_tiny_top_p_keeps_one_token(logits):
    assert torch.equal(distribution(logits, top_p=1e-9), distribution(logits, temperature=0))


def test_top_p_looks_past_its_first_candidates_if_the_distribution_is_flat():
    probabilities = distribution(torch.zeros(1, 16 * TOP_P_CANDIDATES), top_p=0.75)

    assert kept(probabilities) == list(range(12 * TOP_P_CANDIDATES))


def test_top_p_is_applied_to_the_result_of_top_k():
    logits = logs(0.4, 0.3, 0.2, 0.1)

    assert kept(distribution(logits, top_p=0.5)) == [0, 1]
    assert kept(distribution(logits, top_k=2, top_p=0.5)) == [0]


def test_min_p_keeps_tokens_likely_relative_to_the_likeliest():
    logits = logs(0.1, 0.5, 0.26, 0.14)

    assert kept(distribution(logits, min_p=0.25)) == [1, 2, 3]
    assert kept(distribution(logits, min_p=0.5)) == [1, 2]
    assert kept(distribution(logits, min_p=1.0)) == [1]


def test_temperature_zero_is_greedy_and_ties_go_to_the_lowest_id():
    logits = torch.tensor([[0.0, 5.0, 5.0], [-INF, -1.0, -2.0]])

    assert distribution(logits, temperature=0).tolist() == [[0, 1, 0], [0, 1, 0]]


@pytest.mark.parametrize("temperature", [1e-30, 1e-6, 1e6])
def test_no_temperature_overflows(temperature):
    probabilities = distribution(torch.tensor([[90.0, 80.0, -90.0, -INF]]), temperature=temperature)

    torch.testing.assert_close(probabilities.sum(-1), torch.ones(1))
    assert probabilities[0, 3] == 0


def test_half_precision_logits_give_float32_probabilities():
    logits = torch.randn(2, 50).bfloat16()

    assert torch.equal(distribution(logits, top_p=0.9), distribution(logits.float(), top_p=0.9))
    assert distribution(logits).dtype == torch.float32


def test_a_row_does_not_depend_on_the_rows_beside_it(logits):
    logits[2] = 0  # flat: makes top-p sort everything
    seen = logits > 6
    uniform = torch.rand(5, generator=torch.Generator().manual_seed(2))
    options = {"temperature": 0.9, "top_p": 0.95, "min_p": 0.001, "repetition_penalty": 1.2}

    together = distribution(logits, seen=seen, **options)

    for i in range(5):
        alone = distribution(logits[i : i + 1], seen=seen[i : i + 1], **options)
        assert torch.equal(alone[0], together[i])
        assert draw(alone, uniform[i : i + 1])[0] == draw(together, uniform)[i]


def test_a_draw_inverts_the_cumulative_distribution():
    uniform = torch.tensor([0.0, 0.24, 0.25, 0.74, 0.75, 0.99])

    ids = draw(torch.tensor([[0.25, 0.5, 0.25]]).expand(6, 3), uniform)

    assert ids.tolist() == [0, 0, 1, 1, 2, 2]
    assert ids.dtype == torch.int64


def test_a_draw_never_takes_a_token_of_probability_zero():
    probabilities = torch.tensor([[0.0, 0.3, 0.0, 0.7, 0.0]]).expand(2, 5)
    almost_one = 1 - 2.0**-24

    assert draw(probabilities, torch.tensor([0.0, almost_one])).tolist() == [1, 3]


def test_a_draw_is_valid_for_every_uniform_number_even_if_the_sum_is_rounded(logits):
    probabilities = distribution(logits)

    for uniform in (0.0, 0.5, 1 - 2.0**-24):
        ids = draw(probabilities, torch.full((5,), uniform))
        assert (probabilities.gather(1, ids[:, None]) > 0).all()


def test_draws_are_as_frequent_as_they_are_likely():
    probabilities = torch.tensor([[0.1, 0.0, 0.6, 0.3]])
    evenly = (torch.arange(1000) + 0.5) / 1000

    ids = draw(probabilities.expand(1000, 4), evenly)

    assert torch.bincount(ids, minlength=4).tolist() == [100, 0, 600, 300]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_gpu_and_cpu_keep_and_draw_the_same_tokens(logits):
    options = {"temperature": 0.9, "top_k": 500, "top_p": 0.95, "min_p": 0.001}
    uniform = torch.rand(5, generator=torch.Generator().manual_seed(3))

    here, there = distribution(logits, **options), distribution(logits.cuda(), **options)

    torch.testing.assert_close(there.cpu(), here)
    assert torch.equal(draw(there, uniform.cuda()).cpu(), draw(here, uniform))
