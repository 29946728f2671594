"""Compare every family with transformers: it saves a random network, and zoo-gpt reads it."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from zoo_gpt.decoding.cuda_graph import StaticKVCache
from zoo_gpt.decoding.decode import decode
from zoo_gpt.decoding.likelihood import log_likelihoods
from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.checkpoint import load_transformer
from zoo_gpt.network.transformer import Transformer

from zoo_core import Checkpoint

VOCAB = 131
GPT2: dict[str, Any] = {"n_embd": 48, "n_head": 4, "n_layer": 3, "n_positions": 96}
LLAMA: dict[str, Any] = {
    "hidden_size": 48,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "num_hidden_layers": 3,
    "intermediate_size": 112,
    "max_position_embeddings": 96,
}
NEOX = {name: value for name, value in LLAMA.items() if name != "num_key_value_heads"}
NEO: dict[str, Any] = {
    "hidden_size": 48,
    "num_heads": 4,
    "num_layers": 4,
    "attention_types": [[["global", "local"], 2]],
    "window_size": 16,
    "max_position_embeddings": 96,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": ("GPT2", GPT2),
    "gpt2, untied": ("GPT2", GPT2 | {"tie_word_embeddings": False}),
    "gpt-neo": ("GPTNeo", NEO),
    "pythia": ("GPTNeoX", NEOX),
    "gpt-neox, sequential": ("GPTNeoX", NEOX | {"use_parallel_residual": False}),
    "llama": ("Llama", LLAMA),
    "llama, tied": ("Llama", LLAMA | {"tie_word_embeddings": True}),
    "llama 3": ("Llama", LLAMA | {"rope_parameters": LLAMA3, "head_dim": 16, "attention_bias": True}),
    "llama, linear": (
        "Llama",
        LLAMA | {"rope_parameters": {"rope_type": "linear", "factor": 4.0, "rope_theta": 1e4}},
    ),
    "qwen2": ("Qwen2", LLAMA),
    "qwen3": ("Qwen3", LLAMA | {"head_dim": 16}),
    "imagegpt": ("ImageGPT", GPT2),
}


@dataclasses.dataclass
class Pair:
    theirs: Any
    ours: Transformer
    tokens: Tensor


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    family, options = MODELS[request.param]
    config = getattr(transformers, f"{family}Config")(vocab_size=VOCAB, **options)
    kind = (
        "ForCausalImageModeling"
        if family == "ImageGPT"
        else "LMHeadModel"
        if family == "GPT2"
        else "ForCausalLM"
    )
    torch.manual_seed(0)
    theirs = getattr(transformers, f"{family}{kind}")(config).eval()
    for parameter in theirs.parameters():
        # Norms and biases are ones and zeros at first, which would hide mistakes.
        parameter.data += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("model")
    theirs.save_pretrained(folder)
    tokens = torch.randint(VOCAB - 1, (3, 40))
    return Pair(theirs, load_transformer(read_folder(folder)), tokens)


def read_folder(folder: Path) -> Checkpoint:
    files = {path.name: path for path in folder.iterdir()}
    return Checkpoint(source=str(folder), files=files, digest="")


@torch.inference_mode()
def test_logits(pair: Pair) -> None:
    theirs = pair.theirs(pair.tokens).logits
    assert float((pair.ours(pair.tokens) - theirs).abs().max() / theirs.abs().max()) < 1e-5


@torch.inference_mode()
def test_64_greedy_tokens(pair: Pair) -> None:
    prompts = pair.tokens[:, :7]
    expected = prompts
    for _ in range(64):  # without a cache, so that ours is compared with the definition
        expected = torch.cat([expected, pair.theirs(expected, use_cache=False).logits[:, -1:].argmax(-1)], 1)
    chosen = decode(pair.ours, prompts.tolist(), 64, lambda logits: logits.argmax(-1))
    assert torch.equal(torch.stack(list(chosen), dim=1), expected[:, 7:])


@torch.inference_mode()
def test_log_likelihoods(pair: Pair) -> None:
    logits = pair.theirs(pair.tokens).logits[:, :-1].log_softmax(-1)
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
        assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_gpu_and_cpu_decode_the_same_tokens(pair: Pair) -> None:
    prompts = [row[:length] for row, length in zip(pair.tokens.tolist(), (7, 3, 12), strict=True)]

    def greedy(transformer: Transformer) -> Tensor:
        return torch.stack(list(decode(transformer, prompts, 64, lambda logits: logits.argmax(-1))), dim=1)

    assert torch.equal(greedy(copy.deepcopy(pair.ours).cuda()).cpu(), greedy(pair.ours))
