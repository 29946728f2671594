"""Qwen3 (arXiv:2505.09388): Llama with normalised queries and keys."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama, qwen2
from zoo_gpt.network.family import ConfigReader, Family


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Qwen3 config."""
    # The class has this width of a head whatever the width of the network.
    settings = llama.shared_settings(reader, sizes={"head_dim": 128}) | llama.biases(reader)
    return TransformerConfig(**settings, qk_norm="head", windows=qwen2.windows(reader, settings["layers"]))


FAMILY = Family(read, llama.QK_NORM_NAMES, "model.")
