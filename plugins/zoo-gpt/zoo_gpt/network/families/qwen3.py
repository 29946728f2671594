"""Qwen3 (arXiv:2505.09388): Llama with norms of queries and keys."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families.llama import NAMES, read_llama_like
from zoo_gpt.network.family import ConfigReader, Family


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Qwen3 config."""
    bias = reader.get(bool, "attention_bias", default=False)
    return read_llama_like(reader, qkv_bias=bias, out_bias=bias, qk_norm=True)


FAMILY = Family(read, NAMES, "model.")
