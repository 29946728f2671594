"""gpt-oss (OpenAI 2025, arXiv:2508.10925): experts in MXFP4, attention sinks, alternating windows."""

from __future__ import annotations

import re
from dataclasses import replace

from torch import Tensor

from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.families import llama, mixtral
from zoo_gpt.network.family import ConfigReader, Family
from zoo_gpt.network.mxfp4 import GROUP

NAMES = {name: ours for name, ours in llama.NAMES.items() if ".mlp." not in name} | {
    "layers.*.self_attn": "blocks.*.attention",
    "layers.*.mlp.router": "blocks.*.mlp.router",
    "layers.*.mlp.experts.*.gate_proj": "blocks.*.mlp.experts.*.gate",
    "layers.*.mlp.experts.*.up_proj": "blocks.*.mlp.experts.*.up",
    "layers.*.mlp.experts.*.down_proj": "blocks.*.mlp.experts.*.down",
}
TOGETHER = re.compile(r"(.*\.mlp\.experts\.)(gate_up|down)_proj(?:_(bias|blocks|scales))?")
"""Names of the tensors that hold all experts of a layer."""
SCALING = {
    "rope_type": "yarn",
    "factor": 32.0,
    "beta_fast": 32.0,
    "beta_slow": 1.0,
    "truncate": False,
    "original_max_position_embeddings": 4096,
}
"""The rotary settings of a file that has none."""
SIZES = {
    "vocab_size": 201088,
    "hidden_size": 2880,
    "intermediate_size": 2880,
    "num_hidden_layers": 36,
    "num_attention_heads": 64,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "max_position_embeddings": 131072,
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a gpt-oss config."""
    settings = llama.shared_settings(reader, epsilon=1e-5, sizes=SIZES, theta=150000.0, scaling=SCALING)
    bias = reader.get(bool, "attention_bias", default=True)
    # The activation is the experts' own, whatever hidden_act says: x · σ(1.702 x) gates, with clamped inputs.
    reader.require("silu", "hidden_act")
    reader.require(1.702, "swiglu_alpha")
    layers, window = settings["layers"], reader.window(default=128)
    kinds = reader.layer_types(layers) or ["sliding_attention", "full_attention"] * ((layers + 1) // 2)
    in_mxfp4 = bool(reader.object("quantization_config"))
    if in_mxfp4 and (settings["width"] % GROUP or settings["mlp_width"] % GROUP):
        raise reader.error(f"weights in mxfp4 need sizes that are multiples of {GROUP}")
    settings |= {"activation": "quick_gelu", "qkv_bias": bias, "out_bias": bias, "mlp_bias": True}
    return TransformerConfig(
        **settings,
        mlp_limit=reader.positive("swiglu_limit", 7.0),
        attention_sinks=True,
        windows=reader.windows(kinds[:layers], window),
        experts=replace(mixtral.experts(reader, count=128, per_token=4), router_bias=True, in_mxfp4=in_mxfp4),
    )


def separate(tensors: dict[str, Tensor]) -> None:
    """Replace tensors that hold all experts of a layer by views, one for each expert and matrix.

    Rows of gates and of the others alternate. Weights that are not quantised are (experts, in, out).
    """
    for name in list(tensors):
        found = TOGETHER.fullmatch(name)
        if found is None or tensors[name].dim() < (2 if found[3] else 3) or not tensors[name].numel():
            continue
        prefix, matrix, kind = found.groups()
        for number, part in enumerate(tensors.pop(name)):
            rows = part if kind else part.mT
            parts = {"gate": rows[::2], "up": rows[1::2]} if matrix == "gate_up" else {"down": rows}
            for ours, view in parts.items():
                tensors[f"{prefix}{number}.{ours}_proj.{kind or 'weight'}"] = view


FAMILY = Family(read, NAMES, "model.", separate=separate, quantised=("mxfp4",))
