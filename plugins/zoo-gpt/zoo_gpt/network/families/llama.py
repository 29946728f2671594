"""Llama (Touvron et al. 2023, arXiv:2302.13971), and the settings of all families in its layout."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.family import ConfigReader, Family
from zoo_gpt.network.rope_settings import longest_context

NAMES = {
    "embed_tokens": "embedding",
    "layers.*.input_layernorm": "blocks.*.norm1",
    "layers.*.self_attn.q_proj": "blocks.*.attention.q",
    "layers.*.self_attn.k_proj": "blocks.*.attention.k",
    "layers.*.self_attn.v_proj": "blocks.*.attention.v",
    "layers.*.self_attn.o_proj": "blocks.*.attention.out",
    "layers.*.post_attention_layernorm": "blocks.*.norm2",
    "layers.*.mlp.gate_proj": "blocks.*.mlp.gate",
    "layers.*.mlp.up_proj": "blocks.*.mlp.up",
    "layers.*.mlp.down_proj": "blocks.*.mlp.down",
    "norm": "norm",
    "lm_head": "head",
}
"""Our names of published tensors."""
QK_NORM_NAMES = NAMES | {
    "layers.*.self_attn.q_norm": "blocks.*.attention.q_norm",
    "layers.*.self_attn.k_norm": "blocks.*.attention.k_norm",
}


def shared_settings(
    reader: ConfigReader,
    *,
    norm: str = "rms_norm_eps",
    epsilon: float = 1e-6,
    activation: str = "silu",
    activation_name: str = "hidden_act",
    tied: bool = False,
    sizes: Mapping[str, int] | None = None,
    **rope_options: Any,
) -> dict[str, Any]:
    """Read the settings that families in Llama's layout share; return fields of TransformerConfig.

    Args:
        reader: The reader.
        norm: Name of the setting for the norms' epsilon.
        epsilon: Its default.
        activation: Default activation.
        activation_name: Name of its setting.
        tied: Default of tie_word_embeddings.
        sizes: Defaults of the sizes by their names, for families whose files leave them out.
        rope_options: Defaults of the rotary settings: see :func:`read_rope`.
    """
    sizes = sizes or {}
    shape = reader.sizes(
        "hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings", sizes
    )
    given = reader.get(int, "head_dim", default=sizes.get("head_dim"), optional=True)
    head_dim = reader.head_dim(shape) if given is None else reader.size("head_dim", given)
    rope = reader.rope(head_dim, shape["context"], **rope_options)
    return shape | {
        "context": longest_context(rope, shape["context"]),
        "kv_heads": reader.size("num_key_value_heads", sizes.get("num_key_value_heads", shape["heads"])),
        "head_dim": head_dim,
        "mlp_width": reader.size("intermediate_size", sizes.get("intermediate_size")),
        "activation": reader.activation(activation_name, default=activation),
        "gated": True,
        "rms_norm": True,
        "norm_eps": reader.epsilon(norm, default=epsilon),
        "rope": rope,
        "qkv_bias": False,
        "out_bias": False,
        "mlp_bias": False,
        "tied": reader.get(bool, "tie_word_embeddings", default=tied),
    }


def biases(reader: ConfigReader) -> dict[str, bool]:
    """Read the settings for biases that some of these families have."""
    bias = reader.get(bool, "attention_bias", default=False)
    return {"qkv_bias": bias, "out_bias": bias}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Llama config."""
    settings = shared_settings(reader) | biases(reader)
    settings["mlp_bias"] = reader.get(bool, "mlp_bias", default=False)
    reader.require_full_attention(settings["layers"])
    return TransformerConfig(**settings)


FAMILY = Family(read, NAMES, "model.")
