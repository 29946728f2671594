"""Llama (Touvron et al. 2023, arXiv:2302.13971) and models in its layout: SmolLM2, Qwen2, Qwen3."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.family import ConfigReader, Family

NAMES = {
    "embed_tokens": "embedding",
    "layers.*.input_layernorm": "blocks.*.norm1",
    "layers.*.self_attn.q_proj": "blocks.*.attention.q",
    "layers.*.self_attn.k_proj": "blocks.*.attention.k",
    "layers.*.self_attn.v_proj": "blocks.*.attention.v",
    "layers.*.self_attn.o_proj": "blocks.*.attention.out",
    "layers.*.self_attn.q_norm": "blocks.*.attention.q_norm",
    "layers.*.self_attn.k_norm": "blocks.*.attention.k_norm",
    "layers.*.post_attention_layernorm": "blocks.*.norm2",
    "layers.*.mlp.gate_proj": "blocks.*.mlp.gate",
    "layers.*.mlp.up_proj": "blocks.*.mlp.up",
    "layers.*.mlp.down_proj": "blocks.*.mlp.down",
    "norm": "norm",
    "lm_head": "head",
}


def read(reader: ConfigReader, *, qkv_bias: bool | None = None, qk_norm: bool = False) -> TransformerConfig:
    """Read a config in Llama's layout.

    Args:
        reader: The reader.
        qkv_bias: Queries, keys and values have biases; None: as the setting attention_bias says, which then
            counts for attention's output too. Qwen2 has them always.
        qk_norm: Queries and keys are normalised, as in Qwen3.
    """
    out_bias = qkv_bias is None and reader.get(bool, "attention_bias", default=False)
    # With use_sliding_window off, sliding_window has no effect.
    reader.require(False, "use_sliding_window")
    reader.require_full_attention()
    sizes = reader.sizes("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
    sizes["kv_heads"] = reader.size("num_key_value_heads", default=sizes["heads"])
    head_dim = reader.size("head_dim") if reader.config.get("head_dim") else reader.head_dim(sizes)
    return TransformerConfig(
        **sizes,
        head_dim=head_dim,
        mlp_width=reader.size("intermediate_size"),
        activation=reader.activation("hidden_act", default="silu"),
        gated=True,
        rms_norm=True,
        norm_eps=reader.epsilon("rms_norm_eps", default=1e-6),
        rope=reader.rope(head_dim),
        qk_norm=qk_norm,
        qkv_bias=out_bias if qkv_bias is None else qkv_bias,
        out_bias=out_bias,
        mlp_bias=reader.get(bool, "mlp_bias", default=False),
        tied=reader.get(bool, "tie_word_embeddings", default=False),
    )


FAMILY = Family(read, NAMES, "model.")
