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
from zoo_gpt.decoding.inference import default_dtype, optimize_for_inference
from zoo_gpt.decoding.likelihood import log_likelihoods
from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.checkpoint import load_transformer
from zoo_gpt.network.rope import Rope
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
GEMMA3: dict[str, Any] = LLAMA | {
    "head_dim": 16,
    "num_hidden_layers": 4,
    "sliding_window": 16,
    "layer_types": ["sliding_attention", "full_attention"] * 2,
    "rope_parameters": {
        "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
        "full_attention": {"rope_type": "linear", "factor": 8.0, "rope_theta": 1e6},
    },
}
SIGLIP = {"hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "intermediate_size": 16}


def rope(**settings: Any) -> dict[str, Any]:
    """Return a Llama whose ``original`` context is 24, so that every test goes beyond it."""
    settings = {"rope_theta": 1e4, "original_max_position_embeddings": 24} | settings
    return LLAMA | {"rope_parameters": settings}


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
    "llama, dynamic": (
        "Llama",
        rope(rope_type="dynamic", factor=4.0) | {"max_position_embeddings": 24},
    ),
    "llama, yarn": ("Llama", rope(rope_type="yarn", factor=4.0)),
    "llama, yarn of deepseek": (
        "Llama",
        rope(rope_type="yarn", factor=4.0, mscale=1.0, mscale_all_dim=0.5, beta_fast=4.0, truncate=False),
    ),
    "llama, longrope": (
        "Llama",
        rope(
            rope_type="longrope",
            short_factor=[1.0, 1.1, 1.2, 1.3],
            long_factor=[1.5, 2.0, 3.0, 4.0],
            factor=4.0,
        ),
    ),
    "mistral": ("Mistral", LLAMA | {"sliding_window": 16, "head_dim": 16}),
    "qwen2": ("Qwen2", LLAMA),
    "qwen2, windows": (
        "Qwen2",
        LLAMA | {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 1},
    ),
    "qwen3": ("Qwen3", LLAMA | {"head_dim": 16}),
    "imagegpt": ("ImageGPT", GPT2),
    "gemma": ("Gemma", LLAMA | {"head_dim": 16}),
    "gemma 2": (
        "Gemma2",
        LLAMA
        | {"head_dim": 16, "sliding_window": 16, "query_pre_attn_scalar": 9}
        # Small enough to change these scores and logits.
        | {"attn_logit_softcapping": 1.5, "final_logit_softcapping": 2.0},
    ),
    "gemma 3": ("Gemma3Text", GEMMA3),
    "gemma 3 with images": (
        "Gemma3",
        {"text_config": GEMMA3 | {"vocab_size": VOCAB}, "vision_config": SIGLIP},
    ),
    "phi": ("Phi", LLAMA),
    "phi, normalised": ("Phi", LLAMA | {"qk_layernorm": True}),
    "phi 3": ("Phi3", LLAMA | {"sliding_window": 16}),
    "phi 4 mini": (
        "Phi3",
        LLAMA
        | {"tie_word_embeddings": True, "original_max_position_embeddings": 24, "hidden_size": 96}
        | {
            "rope_parameters": {
                "rope_type": "longrope",
                "rope_theta": 1e4,
                "partial_rotary_factor": 0.75,
                "short_factor": [1.0, 1.1, 1.2, 1.3, 1.4, 1.5],
                "long_factor": [1.5, 2.0, 3.0, 4.0, 5.0, 6.0],
            }
        },
    ),
    "smollm3": ("SmolLM3", LLAMA | {"num_hidden_layers": 4}),
    "smollm3, windows": (
        "SmolLM3",
        LLAMA | {"use_sliding_window": True, "sliding_window": 16, "no_rope_layers": [1, 0, 1]},
    ),
    "granite": (
        "Granite",
        LLAMA
        | {"embedding_multiplier": 3.0, "residual_multiplier": 0.4, "attention_multiplier": 0.2}
        | {"logits_scaling": 4.0},
    ),
    "olmo 2": ("Olmo2", LLAMA),
    "starcoder 2": ("Starcoder2", LLAMA | {"sliding_window": 16}),
    "stablelm": ("StableLm", LLAMA | {"use_qkv_bias": True, "hidden_size": 96}),
    "stablelm 2 12b": (
        "StableLm",
        LLAMA | {"qk_layernorm": True, "use_parallel_residual": True, "hidden_size": 96},
    ),
    "mixtral": ("Mixtral", LLAMA | {"num_local_experts": 5, "num_experts_per_tok": 2}),
    "gpt-oss": (
        "GptOss",
        LLAMA
        | {"num_local_experts": 5, "num_experts_per_tok": 2, "head_dim": 16, "num_hidden_layers": 4}
        # Small enough to change what the experts compute.
        | {"sliding_window": 16, "swiglu_limit": 0.3}
        | {
            "rope_parameters": {
                "rope_type": "yarn",
                "rope_theta": 150000.0,
                "factor": 4.0,
                "truncate": False,
                "original_max_position_embeddings": 24,
            }
        },
    ),
    "qwen3 moe": (
        "Qwen3Moe",
        LLAMA
        | {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 40, "head_dim": 16}
        | {"mlp_only_layers": [1]},
    ),
    "qwen3 moe, normalised": (
        "Qwen3Moe",
        LLAMA
        | {"num_experts": 6, "num_experts_per_tok": 3, "moe_intermediate_size": 40}
        | {"norm_topk_prob": True, "decoder_sparse_step": 2},
    ),
}


@dataclasses.dataclass
class Pair:
    theirs: Any
    ours: Transformer
    tokens: Tensor

    def reference(self, tokens: Tensor) -> Tensor:
        """Return the logits that transformers computes without a cache."""
        self.theirs(tokens[:, :1])  # dynamic ropes remember the longest sequence until they read a short one
        logits: Tensor = self.theirs(tokens, use_cache=False).logits
        return logits


@pytest.fixture(scope="module", params=MODELS)
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Pair:
    family, options = MODELS[request.param]
    config = getattr(transformers, f"{family}Config")(**{"vocab_size": VOCAB, "pad_token_id": 0} | options)
    torch.manual_seed(0)
    if family == "ImageGPT":
        theirs = transformers.ImageGPTForCausalImageModeling(config).eval()
    else:
        theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in theirs.parameters():
        # Norms and biases are ones and zeros at first, which would hide mistakes.
        parameter.data += 0.1 * torch.randn_like(parameter)
    folder = tmp_path_factory.mktemp("model")
    theirs.save_pretrained(folder)
    theirs.set_attn_implementation("eager")  # the definition, and the only one for soft caps
    tokens = torch.randint(VOCAB - 1, (3, 40))
    return Pair(theirs, load_transformer(read_folder(folder)), tokens)


def read_folder(folder: Path) -> Checkpoint:
    files = {path.name: path for path in folder.iterdir()}
    return Checkpoint(source=str(folder), files=files, digest="")


@torch.inference_mode()
def test_logits(pair: Pair) -> None:
    theirs = pair.reference(pair.tokens)
    assert float((pair.ours(pair.tokens) - theirs).abs().max() / theirs.abs().max()) < 1e-5


@torch.inference_mode()
def test_64_greedy_tokens(pair: Pair) -> None:
    prompts = pair.tokens[:, :7]
    tokens = decode(pair.ours, prompts.tolist(), 64, lambda logits: logits.argmax(-1))
    texts = torch.cat([prompts, torch.stack(list(tokens), dim=1)], dim=1)
    if any(
        isinstance(rope, Rope) and rope.depends_on_length for rope in pair.ours.ropes
    ):  # the frequencies depend on the length: compare step by step
        chosen = [pair.reference(texts[:, :end])[:, -1] for end in range(7, 71)]
        assert torch.equal(torch.stack(chosen, dim=1).argmax(-1), texts[:, 7:])
    else:
        assert torch.equal(pair.reference(texts[:, :-1])[:, 6:].argmax(-1), texts[:, 7:])


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
            assert float((seen[step][row] - expected).abs().max() / expected.abs().max()) < 1e-5


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
        assert float((found - expected).abs().max() / expected.abs().max()) < 1e-5


@torch.inference_mode()
def test_the_layers_for_inference_give_nearly_the_same_logits(pair: Pair) -> None:
    cpu = torch.device("cpu")
    fast = optimize_for_inference(copy.deepcopy(pair.ours), device=cpu, dtype=default_dtype(cpu))
    expected = pair.ours(pair.tokens)
    assert float((fast(pair.tokens) - expected).abs().max() / expected.abs().max()) < 5e-3


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@torch.inference_mode()
def test_gpu_and_cpu_decode_the_same_tokens(pair: Pair) -> None:
    prompts = [row[:length] for row, length in zip(pair.tokens.tolist(), (7, 3, 12), strict=True)]

    def greedy(transformer: Transformer) -> Tensor:
        return torch.stack(list(decode(transformer, prompts, 64, lambda logits: logits.argmax(-1))), dim=1)

    assert torch.equal(greedy(copy.deepcopy(pair.ours).cuda()).cpu(), greedy(pair.ours))
