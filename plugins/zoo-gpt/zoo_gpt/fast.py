"""The same transformer, arranged for sampling on a CPU: the same numbers in less time.

A token's time is that of reading all weights once. torch's own product of a matrix with a few vectors reads
them with one core, or copies them first; oneDNN's kernels, on weights packed in their layout, read as fast as
the memory gives.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from zoo_gpt.transformer import Transformer

kernels: Any = torch.ops.mkldnn
"""oneDNN's kernels as torch's own compiler calls them, which is where packed weights are to be had."""


def has_kernels(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this torch, on this processor, gives access to oneDNN's linear layers in ``dtype``."""
    if device.type != "cpu" or not hasattr(kernels, "_linear_pointwise"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and bool(kernels._is_mkldnn_bf16_supported()))


def prepare_for_sampling(transformer: Transformer, device: torch.device, dtype: torch.dtype) -> Transformer:
    """Move a network to ``device`` and ``dtype`` with the fastest layers there are; it is changed in place.

    Weights are converted one by one, so that no second copy of them all is ever held. An embedding that is
    not computed with stays as it is in its file, of which only the rows that are looked up are ever read.
    """
    if not has_kernels(device, dtype):
        return transformer.to(device, dtype)
    head = transformer.embedding if transformer.head is None else transformer.head
    transformer.head = PackedLinear(head.get_parameter("weight")[: transformer.config.vocab_out], None, dtype)
    for block in transformer.blocks:
        for part in (block.get_submodule("attention"), block.get_submodule("mlp")):
            for name, layer in part.named_children():
                if isinstance(layer, nn.Linear):
                    setattr(part, name, PackedLinear(layer.weight, layer.bias, dtype))
        # What is left is small; one tensor still mapped from a file would keep all of the file in memory.
        _convert(block, dtype)
    _convert(transformer.norm, dtype)
    return transformer


def _convert(module: nn.Module, dtype: torch.dtype) -> None:
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype, copy=True)


class PackedLinear(nn.Module):
    """A linear layer whose weight (out, in) has the layout of oneDNN's kernel."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.bias = None if bias is None else bias.detach().to(dtype, copy=True)
        rows = 1  # that the layout is chosen for: reading a prompt is quick in any
        self.weight = kernels._reorder_linear_weight(weight.detach().to(dtype).contiguous(), rows)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out)."""
        out: Tensor = kernels._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out
