"""Gemma 2 (arXiv:2408.00118): soft caps, windows in every other layer, norms before and after."""

from __future__ import annotations

from typing import Any

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import gemma, llama
from zoo_gpt.network.family import ConfigReader, Family

NAMES = llama.NAMES | {
    "layers.*.post_attention_layernorm": "blocks.*.norm1_out",
    "layers.*.pre_feedforward_layernorm": "blocks.*.norm2",
    "layers.*.post_feedforward_layernorm": "blocks.*.norm2_out",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Gemma 2 config."""
    settings = gemma.shared_settings(reader, activation_name="hidden_activation")
    return TransformerConfig(
        **settings,
        **own_settings(reader, caps=(50.0, 30.0)),
        windows=windows(reader, settings["layers"], every=2),
    )


def own_settings(reader: ConfigReader, caps: tuple[float, float] | tuple[None, None]) -> dict[str, Any]:
    """Read what Gemma 2 and 3 have and Gemma has not.

    Args:
        reader: The reader.
        caps: Default soft caps of attention and of the logits.
    """
    return {
        "norm_outputs": True,
        "attention_scale": reader.positive("query_pre_attn_scalar", 256.0) ** -0.5,
        "attention_softcap": reader.softcap("attn_logit_softcapping", caps[0]),
        "logits_softcap": reader.softcap("final_logit_softcapping", caps[1]),
    }


def windows(reader: ConfigReader, layers: int, every: int) -> tuple[int | None, ...]:
    """Read the windows; by default each ``every``-th layer sees all positions."""
    kinds = reader.layer_types(layers) or [
        "sliding_attention" if (layer + 1) % every else "full_attention" for layer in range(layers)
    ]
    return reader.windows(kinds, reader.window(default=4096))


FAMILY = Family(read, NAMES, "model.")
