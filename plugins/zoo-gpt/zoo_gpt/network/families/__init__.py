"""The published families, one module for each layout of config and tensors."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from zoo_gpt.network.families import gpt2, gpt_neo, gpt_neox, imagegpt, llama
from zoo_gpt.network.family import Family

FAMILIES: Mapping[str, Family] = {
    "gpt2": gpt2.FAMILY,
    "gpt_neo": gpt_neo.FAMILY,
    "gpt_neox": gpt_neox.FAMILY,
    "imagegpt": imagegpt.FAMILY,
    "llama": llama.FAMILY,
    "qwen2": Family(partial(llama.read, qkv_bias=True), llama.NAMES, "model."),  # arXiv:2412.15115
    "qwen3": Family(partial(llama.read, qk_norm=True), llama.NAMES, "model."),  # arXiv:2505.09388
}
"""Families by ``model_type``, which the manifest lists too."""
