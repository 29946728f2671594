"""GPT-Neo (Black et al. 2021) and TinyStories: global and local attention in turn, scores not scaled."""

from __future__ import annotations

from reprlib import repr as short_repr

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import gpt2
from zoo_gpt.network.family import ConfigReader, Family

NAMES = gpt2.NAMES | {
    "h.*.attn.attention.q_proj": "blocks.*.attention.q",
    "h.*.attn.attention.k_proj": "blocks.*.attention.k",
    "h.*.attn.attention.v_proj": "blocks.*.attention.v",
    "h.*.attn.attention.out_proj": "blocks.*.attention.out",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a GPT-Neo config."""
    sizes = reader.sizes("hidden_size", "num_layers", "num_heads", "max_position_embeddings")
    return TransformerConfig(
        **sizes,
        head_dim=reader.head_dim(sizes),
        mlp_width=reader.size("intermediate_size", default=4 * sizes["width"]),
        activation=reader.activation("activation_function", default="gelu_new"),
        norm_eps=reader.epsilon("layer_norm_epsilon", default=1e-5),
        attention_scale=1.0,
        windows=_windows(reader, sizes["layers"]),
        qkv_bias=False,
        tied=reader.get(bool, "tie_word_embeddings", default=True),
    )


def _windows(reader: ConfigReader, layers: int) -> tuple[int | None, ...]:
    window = reader.size("window_size", default=256)
    types = reader.get(list, "attention_types", default=[[["global", "local"], layers // 2]])
    reader.get(list, "attention_layers", optional=True)  # the same, one entry per layer
    try:
        described = sum(len(pattern) * times for pattern, times in types)
        if described == layers:
            kinds = [kind for pattern, times in types for kind in pattern * times]
            return tuple({"global": None, "local": window}[kind] for kind in kinds)
    except (KeyError, TypeError, ValueError):
        described = None
    words = "" if described is None else f", which is {short_repr(described)} layers of {layers}"
    raise reader.error(
        f"attention_types is {short_repr(types)}{words}; expected patterns of global and local"
    )


FAMILY = Family(read, NAMES, "transformer.")
