"""Qwen3 with experts (arXiv:2505.09388)."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama, mixtral
from zoo_gpt.network.family import ConfigReader, Family

NAMES = llama.QK_NORM_NAMES | {
    "layers.*.mlp.gate": "blocks.*.mlp.router",
    "layers.*.mlp.experts.*.gate_proj": "blocks.*.mlp.experts.*.gate",
    "layers.*.mlp.experts.*.up_proj": "blocks.*.mlp.experts.*.up",
    "layers.*.mlp.experts.*.down_proj": "blocks.*.mlp.experts.*.down",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Qwen3 config with experts."""
    settings = llama.shared_settings(reader) | llama.biases(reader)
    layers, dense_width = settings["layers"], settings["mlp_width"]
    settings["mlp_width"] = reader.size("moe_intermediate_size", default=768)
    reader.require_full_attention(layers)
    window = reader.window(default=4096)
    window = window if reader.get(bool, "use_sliding_window", default=False) else None
    every = reader.size("decoder_sparse_step", default=1)
    dense = reader.get(list, "mlp_only_layers", default=[], optional=True)
    normalised = reader.get(bool, "norm_topk_prob", default=False)
    return TransformerConfig(
        **settings,
        qk_norm="head",
        windows=(window,) * layers,
        experts=mixtral.experts(reader, count=128, per_token=8, normalised=normalised),
        dense_layers=tuple(layer for layer in range(layers) if layer in dense or (layer + 1) % every),
        dense_mlp_width=dense_width,
    )


FAMILY = Family(read, NAMES, "model.")
