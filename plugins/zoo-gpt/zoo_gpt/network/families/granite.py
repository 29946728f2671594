"""Granite 3 (IBM): Llama with multipliers of embeddings, scores, residuals and logits (muP)."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Granite config."""
    settings = llama.shared_settings(reader) | llama.biases(reader)
    settings["mlp_bias"] = reader.get(bool, "mlp_bias", default=False)
    reader.require_full_attention(settings["layers"])
    return TransformerConfig(
        **settings,
        embedding_scale=reader.positive("embedding_multiplier", 1.0),
        attention_scale=reader.positive("attention_multiplier", 1.0),
        residual_scale=reader.positive("residual_multiplier", 1.0),
        logits_scale=1 / reader.positive("logits_scaling", 1.0),
    )


FAMILY = Family(read, llama.NAMES, "model.")
