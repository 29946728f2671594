"""GPT-NeoX and Pythia (Biderman et al. 2023, arXiv:2304.01373): parallel residual, partial rotation."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.family import ConfigReader, Family
from zoo_gpt.network.rope_settings import longest_context

NAMES = {
    "embed_in": "embedding",
    "layers.*.input_layernorm": "blocks.*.norm1",
    "layers.*.attention.query_key_value": "blocks.*.attention.qkv_by_head",
    "layers.*.attention.dense": "blocks.*.attention.out",
    "layers.*.post_attention_layernorm": "blocks.*.norm2",
    "layers.*.mlp.dense_h_to_4h": "blocks.*.mlp.up",
    "layers.*.mlp.dense_4h_to_h": "blocks.*.mlp.down",
    "final_layer_norm": "norm",
    "embed_out": "head",
    "lm_head": "head",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a GPT-NeoX config."""
    sizes = reader.sizes("hidden_size", "num_hidden_layers", "num_attention_heads", "max_position_embeddings")
    head_dim = reader.head_dim(sizes)
    rope = reader.rope(head_dim, sizes["context"], share=0.25)
    bias = reader.get(bool, "attention_bias", default=True)
    return TransformerConfig(
        **sizes | {"context": longest_context(rope, sizes["context"])},
        head_dim=head_dim,
        mlp_width=reader.size("intermediate_size"),
        activation=reader.activation("hidden_act", default="gelu"),
        norm_eps=reader.epsilon("layer_norm_eps", default=1e-5),
        rope=rope,
        qkv_bias=bias,
        out_bias=bias,
        parallel=reader.get(bool, "use_parallel_residual", default=True),
        tied=reader.get(bool, "tie_word_embeddings", default=False),
    )


FAMILY = Family(read, NAMES, "gpt_neox.")
