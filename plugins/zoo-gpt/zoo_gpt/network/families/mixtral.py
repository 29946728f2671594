"""Mixtral (Jiang et al. 2024, arXiv:2401.04088): Mistral with experts."""

from __future__ import annotations

from zoo_gpt.network.config import ExpertsConfig, TransformerConfig
from zoo_gpt.network.families import llama
from zoo_gpt.network.family import ConfigReader, Family

NAMES = llama.NAMES | {
    "layers.*.block_sparse_moe.gate": "blocks.*.mlp.router",
    "layers.*.block_sparse_moe.experts.*.w1": "blocks.*.mlp.experts.*.gate",
    "layers.*.block_sparse_moe.experts.*.w3": "blocks.*.mlp.experts.*.up",
    "layers.*.block_sparse_moe.experts.*.w2": "blocks.*.mlp.experts.*.down",
}


def read(reader: ConfigReader) -> TransformerConfig:
    """Read a Mixtral config."""
    settings = llama.shared_settings(reader, epsilon=1e-5, theta=1000000.0)
    reader.require_full_attention(settings["layers"])
    return TransformerConfig(
        **settings,
        windows=(reader.window(default=None),) * settings["layers"],
        experts=experts(reader, count=8, per_token=2),
    )


def experts(reader: ConfigReader, *, count: int, per_token: int, normalised: bool = True) -> ExpertsConfig:
    """Read the numbers of experts, whose defaults are ``count`` and ``per_token``."""
    name = "num_local_experts" if "num_local_experts" in reader.config else "num_experts"
    reader.read |= {"num_local_experts", "num_experts"}
    found = ExpertsConfig(
        reader.size(name, count, most=MAX_EXPERTS),
        reader.size("num_experts_per_tok", per_token, most=MAX_EXPERTS),
        normalised,
    )
    if found.per_token > found.count:
        raise reader.error(f"num_experts_per_tok is {found.per_token}, but there are {found.count} experts")
    return found


MAX_EXPERTS = 4096

FAMILY = Family(read, NAMES, "model.")
