"""GPT-2 (Radford et al. 2019) and DistilGPT-2."""

from __future__ import annotations

from typing import Any

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.family import ConfigReader, Family

NAMES = {
    "wte": "embedding",
    "wpe": "positions",
    "h.*.ln_1": "blocks.*.norm1",
    "h.*.attn.c_attn": "blocks.*.attention.qkv",
    "h.*.attn.c_proj": "blocks.*.attention.out",
    "h.*.ln_2": "blocks.*.norm2",
    "h.*.mlp.c_fc": "blocks.*.mlp.up",
    "h.*.mlp.c_proj": "blocks.*.mlp.down",
    "ln_f": "norm",
    "lm_head": "head",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a GPT-2 config."""
    return TransformerConfig(
        **shared_settings(reader), tied=reader.get(bool, "tie_word_embeddings", default=True)
    )


def shared_settings(reader: ConfigReader, activation: str = "gelu_new") -> dict[str, Any]:
    """Read the settings that GPT-2 and ImageGPT share."""
    reader.require(True, "scale_attn_weights")
    reader.require(False, "scale_attn_by_inverse_layer_idx", "add_cross_attention")
    sizes = reader.sizes("n_embd", "n_layer", "n_head", "n_positions")
    return sizes | {
        "head_dim": reader.head_dim(sizes),
        "mlp_width": reader.size("n_inner", default=4 * sizes["width"]),
        "activation": reader.activation("activation_function", default=activation),
        "norm_eps": reader.epsilon("layer_norm_epsilon", default=1e-5),
    }


FAMILY = Family(read, NAMES, "transformer.", transposed=True)
