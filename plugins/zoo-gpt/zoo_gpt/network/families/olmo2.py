"""OLMo 2 (arXiv:2501.00656): norms after attention and MLP, and over all queries and all keys."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family

NAMES = llama.QK_NORM_NAMES | {
    "layers.*.post_attention_layernorm": "blocks.*.norm1_out",
    "layers.*.post_feedforward_layernorm": "blocks.*.norm2_out",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read an OLMo 2 config."""
    settings = llama.shared_settings(reader, epsilon=1e-5) | llama.biases(reader)
    reader.require_full_attention(settings["layers"])
    return TransformerConfig(**settings, norm_inputs=False, norm_outputs=True, qk_norm="width")


FAMILY = Family(read, NAMES, "model.")
