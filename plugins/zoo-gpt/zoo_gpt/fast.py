"""The same transformer, arranged for sampling: in the type asked for, with the fastest layers for it."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from zoo_core import OptionError
from zoo_core.kernels import HalfLinear, Int8Linear, PackedLinear, has_fbgemm, has_packed_linear
from zoo_gpt.transformer import Transformer

HALVES = (torch.float16, torch.bfloat16)


def fastest_dtype(device: torch.device) -> torch.dtype:
    """The type that ``--dtype auto`` is: the fastest in which a sample does not depend on its batch.

    That takes sums in float32. On a CPU weights may be in half precision all the same; elsewhere torch's
    layers compute in the type that their weights have.
    """
    return torch.float16 if device.type == "cpu" and has_fbgemm() else torch.float32


def prepare_for_sampling(transformer: Transformer, device: torch.device, dtype: torch.dtype) -> Transformer:
    """Move a network to ``device``, its weights in ``dtype``; it is changed in place.

    Weights are converted one by one, so that no second copy of them all is ever held. An embedding that is
    not computed with stays as it is in its file, of which only the rows that are looked up are ever read.

    Raises:
        OptionError: There are no layers of int8 here.
    """
    packed = _packed(device, dtype)
    if packed is None:
        return transformer.to(device, dtype)
    computed_in = dtype if packed is PackedLinear else torch.float32
    layer = packed if packed is Int8Linear else partial(packed, dtype=dtype)
    head = transformer.embedding if transformer.head is None else transformer.head
    transformer.head = layer(head.get_parameter("weight")[: transformer.config.vocab_out], None)
    for block in transformer.blocks:
        for part in (block.get_submodule("attention"), block.get_submodule("mlp")):
            for name, linear in part.named_children():
                if isinstance(linear, nn.Linear):
                    setattr(part, name, layer(linear.weight, linear.bias))
        # What is left is small; one tensor still mapped from a file would keep all of the file in memory.
        _convert(block, computed_in)
    _convert(transformer.norm, computed_in)
    return transformer


def _packed(device: torch.device, dtype: torch.dtype) -> type[nn.Module] | None:
    """The layer to use for a type, None for torch's own."""
    if dtype == torch.int8:
        if device.type != "cpu" or not has_fbgemm():
            raise OptionError("int8 is for x86 processors.", "Try --dtype auto.")
        return Int8Linear
    if device.type != "cpu":
        return None
    if has_packed_linear(dtype):
        return PackedLinear
    return HalfLinear if dtype in HALVES and has_fbgemm() else None


def _convert(module: nn.Module, dtype: torch.dtype) -> None:
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype, copy=True)
