"""SmolLM3: Llama in which every fourth layer does not encode positions (NoPE, arXiv:2501.18795)."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a SmolLM3 config."""
    settings = llama.shared_settings(reader, theta=2000000.0, tied=True) | llama.biases(reader)
    settings["mlp_bias"] = reader.get(bool, "mlp_bias", default=False)
    layers = settings["layers"]
    every = reader.size("no_rope_layer_interval", default=4)
    has_rope = reader.get(list, "no_rope_layers", default=[int((i + 1) % every > 0) for i in range(layers)])
    if len(has_rope) != layers or not all(each in (0, 1) for each in has_rope):
        raise reader.error(f"no_rope_layers has {len(has_rope)} entries; expected 0 or 1 for each layer")
    window = reader.window(default=None)
    window = window if reader.get(bool, "use_sliding_window", default=False) else None
    kinds = reader.layer_types(layers) or [
        "sliding_attention" if window and not each else "full_attention" for each in has_rope
    ]
    return TransformerConfig(
        **settings,
        layer_ropes=tuple(settings["rope"] if each else None for each in has_rope),
        windows=reader.windows(kinds, window),
    )


FAMILY = Family(read, llama.NAMES, "model.")
