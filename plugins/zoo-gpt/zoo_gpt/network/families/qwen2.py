"""Qwen2 and Qwen2.5 (arXiv:2412.15115): Llama with biases of queries, keys and values."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Qwen2 config."""
    settings = llama.shared_settings(reader)
    return TransformerConfig(**settings | {"qkv_bias": True, "windows": windows(reader, settings["layers"])})


def windows(reader: ConfigReader, layers: int) -> tuple[int | None, ...]:
    """Read the windows of Qwen2 and Qwen3: none, or from layer ``max_window_layers`` on."""
    window, on = reader.window(default=4096), reader.get(bool, "use_sliding_window", default=False)
    full: int = reader.get(int, "max_window_layers", default=28)
    kinds = reader.layer_types(layers)
    window = window if on else None
    if kinds is None:
        kinds = ["sliding_attention" if window and i >= full else "full_attention" for i in range(layers)]
    return reader.windows(kinds, window)


FAMILY = Family(read, llama.NAMES, "model.")
