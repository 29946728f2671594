"""StarCoder 2 (arXiv:2402.19173): Llama's attention with LayerNorm, biases and a plain MLP."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family

NAMES = llama.NAMES | {
    "layers.*.mlp.c_fc": "blocks.*.mlp.up",
    "layers.*.mlp.c_proj": "blocks.*.mlp.down",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a StarCoder 2 config."""
    settings = llama.shared_settings(
        reader, norm="norm_epsilon", epsilon=1e-5, activation="gelu_pytorch_tanh", tied=True
    )
    reader.require_full_attention(settings["layers"])
    bias = reader.get(bool, "use_bias", default=True)
    own = {"gated": False, "rms_norm": False, "qkv_bias": bias, "out_bias": bias, "mlp_bias": bias}
    windows = (reader.window(default=None),) * settings["layers"]
    return TransformerConfig(**settings | own, windows=windows)


FAMILY = Family(read, NAMES, "model.")
