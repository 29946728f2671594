"""Gemma (arXiv:2403.08295): Llama with scaled embeddings, norms around 1 and a GELU."""

from __future__ import annotations

from typing import Any

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Gemma config."""
    settings = shared_settings(reader, activation_name="hidden_act")
    reader.require_full_attention(settings["layers"])
    return TransformerConfig(**settings)


def shared_settings(reader: ConfigReader, **options: Any) -> dict[str, Any]:
    """Read the settings that all Gemmas share; the options are those of Llama's settings."""
    reader.require(False, "use_bidirectional_attention")
    sizes = {"head_dim": 256} | options.pop("sizes", {})
    settings = llama.shared_settings(
        reader, activation="gelu_pytorch_tanh", tied=True, sizes=sizes, **options
    )
    own = {"norm_offset": True, "embedding_scale": settings["width"] ** 0.5}
    return settings | llama.biases(reader) | own


FAMILY = Family(read, llama.NAMES, "model.")
