"""The published families, one module for each layout of config and tensors."""

from __future__ import annotations

from collections.abc import Mapping

from zoo_gpt.network.families import (
    gpt2,
    gpt_neo,
    gpt_neox,
    imagegpt,
    llama,
    mistral,
    qwen2,
    qwen3,
)
from zoo_gpt.network.family import Family

FAMILIES: Mapping[str, Family] = {
    "gpt2": gpt2.FAMILY,
    "gpt_neo": gpt_neo.FAMILY,
    "gpt_neox": gpt_neox.FAMILY,
    "imagegpt": imagegpt.FAMILY,
    "llama": llama.FAMILY,
    "mistral": mistral.FAMILY,
    "qwen2": qwen2.FAMILY,
    "qwen3": qwen3.FAMILY,
}
"""Families by ``model_type``, which the manifest lists too."""
