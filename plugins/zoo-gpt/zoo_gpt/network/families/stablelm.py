"""StableLM 3B and StableLM 2 (arXiv:2402.17834): Llama with LayerNorm, partial rotation."""

from __future__ import annotations

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family

NAMES = llama.NAMES | {
    "layers.*.self_attn.q_layernorm.norms.*": "blocks.*.attention.q_norm.*",
    "layers.*.self_attn.k_layernorm.norms.*": "blocks.*.attention.k_norm.*",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a StableLM config."""
    settings = llama.shared_settings(reader, norm="layer_norm_eps", epsilon=1e-5, share=0.25)
    reader.require_full_attention(settings["layers"])
    parallel = reader.get(bool, "use_parallel_residual", default=False)
    own = {
        "rms_norm": False,
        "qkv_bias": reader.get(bool, "use_qkv_bias", default=False),
        "qk_norm": "heads" if reader.get(bool, "qk_layernorm", default=False) else None,
        "parallel": parallel,
        "shared_norm": parallel,
    }
    return TransformerConfig(**settings | own)


FAMILY = Family(read, NAMES, "model.")
