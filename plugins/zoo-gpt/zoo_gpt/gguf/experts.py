"""Tensors of llama.cpp that hold all experts of a layer, taken apart: one tensor of each expert."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from zoo_gpt.gguf.file import Blocks, GGUFFile
from zoo_gpt.network.mxfp4 import GROUP

MATRICES = ("ffn_gate_exps.weight", "ffn_up_exps.weight", "ffn_down_exps.weight")
TOGETHER = ".mlp.experts."
"""In the names of such tensors."""


def in_mxfp4(file: GGUFFile) -> bool:
    """Return True if all matrices of all experts are in MXFP4, and stay so in memory."""
    kinds = {blocks.kind for name, blocks in file.tensors.items() if name.endswith(MATRICES)}
    return kinds == {"MXFP4"}


def separate(name: str, blocks: Blocks, *, packed: bool) -> dict[str, Tensor]:
    """Return the tensors of each expert, by names as :mod:`zoo_gpt.network.families.gpt_oss` reads them.

    Args:
        name: ``model.layers.0.mlp.experts.gate_proj.weight``.
        blocks: (experts, outputs, inputs), or (experts, outputs) for a bias.
        packed: Leave matrices in MXFP4, in the order of OpenAI's files.
    """
    prefix, _, rest = name.partition(TOGETHER)
    matrix, _, kind = rest.partition(".")
    if packed and kind == "weight":
        numbers, scales = _unpack(blocks)
        parts = {"blocks": numbers, "scales": scales}
    else:
        parts = {kind: torch.from_numpy(np.ascontiguousarray(blocks.numbers()))}
    return {
        f"{prefix}{TOGETHER}{number}.{matrix}.{part}": tensor[number]
        for part, tensor in parts.items()
        for number in range(len(tensor))
    }


def _unpack(blocks: Blocks) -> tuple[Tensor, Tensor]:
    """Return blocks (experts, outputs, groups, 16) and scales (experts, outputs, groups), both uint8.

    A block of ggml is its scale, and 16 bytes with the numbers i and i + 16. OpenAI's have 2i and 2i + 1.
    """
    *rows, inputs = blocks.shape
    data = torch.from_numpy(blocks.data).view(*rows, inputs // GROUP, 1 + GROUP // 2)
    numbers = torch.cat([data[..., 1:] & 15, data[..., 1:] >> 4], dim=-1)
    return numbers[..., ::2] | numbers[..., 1::2] << 4, data[..., 0]
