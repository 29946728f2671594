"""Phi-3 (arXiv:2404.14219) and Phi-4 mini: Llama with fused projections and LongRoPE."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family

NAMES = llama.NAMES | {
    "layers.*.self_attn.qkv_proj": "blocks.*.attention.qkv",
    "layers.*.mlp.gate_up_proj": "blocks.*.mlp.gate_up",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Phi-3 config."""
    settings = llama.shared_settings(
        reader,
        epsilon=1e-5,
        original_context=4096,
        aliases={"su": "longrope", "yarn": "longrope"},  # names from before longrope had its own
    )
    reader.require_full_attention(settings["layers"])
    return TransformerConfig(**settings, windows=(reader.window(default=None),) * settings["layers"])


FAMILY = Family(read, NAMES, "model.")
