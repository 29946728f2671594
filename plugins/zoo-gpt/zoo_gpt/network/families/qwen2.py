"""Qwen2 and Qwen2.5 (arXiv:2412.15115): Llama with biases of queries, keys and values."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families.llama import NAMES, read_llama_like
from zoo_gpt.network.family import ConfigReader, Family


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Qwen2 config."""
    return read_llama_like(reader, qkv_bias=True)


FAMILY = Family(read, NAMES, "model.")
