"""Phi-1, Phi-1.5 and Phi-2 (arXiv:2309.05463): attention and MLP in parallel behind one norm, biases."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family

NAMES = llama.NAMES | {
    "layers.*.self_attn.dense": "blocks.*.attention.out",
    "layers.*.self_attn.q_layernorm": "blocks.*.attention.q_norm",
    "layers.*.self_attn.k_layernorm": "blocks.*.attention.k_norm",
    "layers.*.mlp.fc1": "blocks.*.mlp.up",
    "layers.*.mlp.fc2": "blocks.*.mlp.down",
    "final_layernorm": "norm",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Phi config."""
    reader.require(False, "tie_word_embeddings")
    settings = llama.shared_settings(
        reader, norm="layer_norm_eps", epsilon=1e-5, activation="gelu_new", share=0.5
    )
    reader.require_full_attention(settings["layers"])
    own = {
        "gated": False,
        "rms_norm": False,
        "qkv_bias": True,
        "out_bias": True,
        "mlp_bias": True,
        "head_bias": True,
        "parallel": True,
        "shared_norm": True,
        "qk_norm": "head" if reader.get(bool, "qk_layernorm", default=False) else None,
    }
    return TransformerConfig(**settings | own)


FAMILY = Family(read, NAMES, "model.")
