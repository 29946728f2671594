"""Compare every family with transformers: it saves a random network, and zoo-gpt reads it."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from torch import Tensor
from zoo_gpt.decoding.cuda_graph import StaticKVCache
from zoo_gpt.decoding.decode import decode
from zoo_gpt.decoding.inference import default_dtype, optimize_for_inference
from zoo_gpt.decoding.likelihood import log_likelihoods
from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.transformer import Transformer

from tools.text.families import RESULTS
from tools.text.random_models import MODELS, VOCAB, Pair, save_pair
from zoo_core.testing.golden import relative_error


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    return save_pair(request.param, tmp_path_factory.mktemp("model"))


def test_the_documented_figures_are_of_every_model_and_within_the_bounds() -> None:
    models = json.loads(RESULTS.read_text())["models"]
    assert list(models) == list(MODELS)
    for figures in models.values():
        assert figures["logits"] < 1e-5
        assert figures["padded"] < 1e-5
        assert figures["log_likelihoods"] < 1e-4
        assert figures["greedy"] == 3 * 64


@torch.inference_mode()
def test_logits(pair: Pair) -> None:
    assert relative_error(pair.ours(pair.tokens), pair.reference(pair.tokens)) < 1e-5


@torch.inference_mode()
def test_64_greedy_tokens(pair: Pair) -> None:
    prompts = pair.tokens[:, :7]
    tokens = decode(pair.ours, prompts.tolist(), 64, lambda logits: logits.argmax(-1))
    texts = torch.cat([prompts, torch.stack(list(tokens), dim=1)], dim=1)
    assert torch.equal(pair.greedy(texts, 7), texts[:, 7:])


@torch.inference_mode()
def test_padded_prompts_are_continued_as_if_each_were_alone_and_without_a_cache(pair: Pair) -> None:
    prompts = [row[:length] for row, length in zip(pair.tokens.tolist(), (20, 3, 12), strict=True)]
    seen = []

    def sample(logits: Tensor) -> Tensor:
        seen.append(logits.clone())
        return logits.argmax(-1)

    tokens = torch.stack(list(decode(pair.ours, prompts, 8, sample)), dim=1)
    for row, prompt in enumerate(prompts):
        text = torch.tensor([[*prompt, *tokens[row].tolist()]])
        for step in (0, 3, 4, 7):
            expected = pair.reference(text[:, : len(prompt) + step])[0, -1]
            assert relative_error(seen[step][row], expected) < 1e-5


@torch.inference_mode()
def test_log_likelihoods(pair: Pair) -> None:
    logits = pair.reference(pair.tokens[:, :-1]).log_softmax(-1)
    expected = logits.gather(2, pair.tokens[:, 1:, None])[..., 0]
    ours = torch.stack([log_likelihoods(pair.ours, row) for row in pair.tokens.tolist()])
    assert torch.allclose(ours, expected, atol=1e-4)


@torch.inference_mode()
def test_a_long_sequence_is_scored_in_windows_that_overlap_by_half(pair: Pair) -> None:
    context = pair.ours.config.context
    tokens = torch.randint(VOCAB - 1, (2 * context + 17,))
    scores = log_likelihoods(pair.ours, tokens.tolist())
    assert len(scores) == len(tokens) - 1
    # A token of the last window, scored by hand.
    start = 2 * (context // 2)
    window = tokens[start : start + context]
    last = pair.ours(window[None])[0, :-1].log_softmax(-1).gather(1, window[1:, None])[:, 0]
    place = context // 2 + 3
    assert float(scores[start + place]) == pytest.approx(float(last[place]), abs=1e-4)


@torch.inference_mode()
def test_a_static_cache_gives_the_same_logits_as_one_that_grows(pair: Pair) -> None:
    left_padding = torch.tensor([0, 5, 11])
    grows = KVCache(pair.ours.config, 3, 40, torch.device("cpu"), torch.float32, left_padding)
    pair.ours.next_logits(pair.tokens[:, :20], grows)
    static = StaticKVCache(copy.deepcopy(grows))
    for at in range(20, 40):
        token = pair.tokens[:, at : at + 1]
        expected, found = pair.ours.next_logits(token, grows), pair.ours.next_logits(token, static)
        assert relative_error(found, expected) < 1e-5


@torch.inference_mode()
def test_the_layers_for_inference_give_nearly_the_same_logits(pair: Pair) -> None:
    cpu = torch.device("cpu")
    fast = optimize_for_inference(copy.deepcopy(pair.ours), device=cpu, dtype=default_dtype(cpu))
    expected = pair.ours(pair.tokens)
    assert relative_error(fast(pair.tokens), expected) < 5e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_gpu_and_cpu_decode_the_same_tokens(pair: Pair) -> None:
    prompts = [row[:length] for row, length in zip(pair.tokens.tolist(), (7, 3, 12), strict=True)]

    def greedy(transformer: Transformer) -> Tensor:
        return torch.stack(list(decode(transformer, prompts, 64, lambda logits: logits.argmax(-1))), dim=1)

    assert torch.equal(greedy(copy.deepcopy(pair.ours).cuda()).cpu(), greedy(pair.ours))
