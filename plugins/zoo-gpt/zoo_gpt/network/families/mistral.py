"""Mistral (Jiang et al. 2023, arXiv:2310.06825): Llama whose layers see a window."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Mistral config."""
    settings = llama.shared_settings(reader)
    reader.require_full_attention(settings["layers"])
    return TransformerConfig(**settings, windows=(reader.window(default=4096),) * settings["layers"])


FAMILY = Family(read, llama.NAMES, "model.")
