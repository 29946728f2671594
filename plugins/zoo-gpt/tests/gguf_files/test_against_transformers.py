"""GGUF files of random models compute what the models compute that they were made from."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gguf
import numpy as np
import pytest
import torch
from zoo_gpt.gguf.checkpoint import GGUFCheckpoint
from zoo_gpt.network.checkpoint import load_transformer

from zoo_core import Checkpoint

LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 500000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 8192,
}
LONG = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0 + i / 8 for i in range(8)],
    "long_factor": [2.0 + i for i in range(8)],
    "original_max_position_embeddings": 32,
}


def freqs(writer: gguf.GGUFWriter) -> None:
    # As llama.cpp's converter computes it.
    base = 500000.0 ** -(np.arange(8) / 8)
    wave, low, high = 2 * np.pi / base, 8192 / 1.0, 8192 / 4.0
    smooth = (8192 / wave - 1.0) / 3.0
    between = 1 / ((1 - smooth) / 8.0 + smooth)
    values = np.where(wave < high, 1, np.where(wave > low, 8.0, between))
    writer.add_tensor("rope_freqs.weight", values.astype(np.float32))


def longrope(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_dimension_count(16)
    writer.add_rope_scaling_orig_ctx_len(32)
    for kind in ("long", "short"):
        values = np.array(LONG[f"{kind}_factor"], dtype=np.float32)
        writer.add_tensor(f"rope_factors_{kind}.weight", values)


def linear(writer: gguf.GGUFWriter) -> None:
    writer.add_rope_scaling_type(gguf.RopeScalingType.LINEAR)
    writer.add_rope_scaling_factor(2.0)


CASES: dict[str, tuple[str, str, dict[str, Any], Any]] = {
    "llama": ("Llama", "llama", {"tie_word_embeddings": False}, None),
    "llama-3.1": ("Llama", "llama", {"rope_parameters": LLAMA3, "tie_word_embeddings": True}, freqs),
    "llama-linear": (
        "Llama",
        "llama",
        {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}},
        linear,
    ),
    "qwen2": ("Qwen2", "qwen2", {"tie_word_embeddings": True}, None),
    "qwen3": ("Qwen3", "qwen3", {"head_dim": 32}, None),
    "gemma": ("Gemma", "gemma", {"head_dim": 32}, None),
    "gemma2": ("Gemma2", "gemma2", {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8}, None),
    "gemma3": (
        "Gemma3",
        "gemma3",
        {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 8, "num_hidden_layers": 7},
        None,
    ),
    "phi3": ("Phi3", "phi3", {"sliding_window": 8}, lambda writer: writer.add_rope_dimension_count(16)),
    "phi3-longrope": (
        "Phi3",
        "phi3",
        {"rope_parameters": LONG, "original_max_position_embeddings": 32},
        longrope,
    ),
}


def load(path: Path) -> tuple[GGUFCheckpoint, Any]:
    checkpoint = GGUFCheckpoint.of(Checkpoint(str(path), {path.name: path}, "sha256:0"))
    return checkpoint, load_transformer(checkpoint)


@pytest.mark.parametrize("case", CASES)
def test_logits_and_greedy_tokens_are_those_of_transformers(
    random_model, write, tmp_path: Path, case: str
) -> None:
    kind, architecture, settings, extra = CASES[case]
    model = random_model(kind, **settings)
    path = write(tmp_path / "m.gguf", model, architecture, extra or (lambda writer: None))
    _, transformer = load(path)
    tokens = torch.randint(3, 200, (2, 24), generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        theirs, ours = model(tokens).logits, transformer(tokens)
        assert (theirs - ours).norm() / theirs.norm() < 1e-5
        greedy = model.generate(tokens[:1], max_new_tokens=24, do_sample=False, eos_token_id=None)
        sequence = tokens[:1]
        for _ in range(24 if case != "phi3-longrope" else 8):
            sequence = torch.cat([sequence, transformer(sequence)[:, -1:].argmax(-1)], 1)
    assert sequence[0].tolist() == greedy[0, : sequence.shape[1]].tolist()
