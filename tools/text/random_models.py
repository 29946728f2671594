"""Small random models of every family of zoo-gpt, each beside the network of transformers that saved it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
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
    """Return a Llama whose original context is 24 tokens, so that 40 go beyond it."""
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


@dataclass
class Pair:
    """The same weights in transformers and here."""

    theirs: Any
    ours: Transformer
    tokens: Tensor
    """Three random sequences, (3, 40) int64: longer than every original context, window and chunk."""

    def reference(self, tokens: Tensor) -> Tensor:
        """Return the logits that transformers computes without a cache, (n, t, vocabulary)."""
        self.theirs(tokens[:, :1])  # dynamic ropes remember the longest sequence until they read a short one
        logits: Tensor = self.theirs(tokens, use_cache=False).logits
        return logits

    @property
    def depends_on_length(self) -> bool:
        """True if the frequencies of a rope depend on the length of the sequence."""
        return any(isinstance(rope, Rope) and rope.depends_on_length for rope in self.ours.ropes)

    def greedy(self, texts: Tensor, prompt: int) -> Tensor:
        """Return the tokens that transformers finds likeliest after each beginning of the texts.

        Args:
            texts: (n, t), the prompts and what we continued them with.
            prompt: Tokens of each prompt.
        """
        if self.depends_on_length:  # compare step by step
            ends = range(prompt, texts.shape[1])
            return torch.stack([self.reference(texts[:, :end])[:, -1].argmax(-1) for end in ends], dim=1)
        return self.reference(texts[:, :-1])[:, prompt - 1 :].argmax(-1)


def save_pair(name: str, folder: Path) -> Pair:
    """Save a random network of ``MODELS`` to a folder with transformers, and read it."""
    family, options = MODELS[name]
    config = getattr(transformers, f"{family}Config")(**{"vocab_size": VOCAB, "pad_token_id": 0} | options)
    torch.manual_seed(0)
    if family == "ImageGPT":
        theirs = transformers.ImageGPTForCausalImageModeling(config).eval()
    else:
        theirs = transformers.AutoModelForCausalLM.from_config(config).eval()
    for parameter in theirs.parameters():
        # Norms and biases are ones and zeros at first, which would hide mistakes.
        parameter.data += 0.1 * torch.randn_like(parameter)
    theirs.save_pretrained(folder)
    theirs.set_attn_implementation("eager")  # the definition, and the only one for soft caps
    tokens = torch.randint(VOCAB - 1, (3, 40))
    return Pair(theirs, load_transformer(read_folder(folder)), tokens)


def read_folder(folder: Path) -> Checkpoint:
    """Return the checkpoint in a folder."""
    files = {path.name: path for path in folder.iterdir()}
    return Checkpoint(source=str(folder), files=files, digest="")
