"""Fast inference: the same transformer with packed linear layers, in the type asked for."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from functools import partial

import torch
from torch import nn

from zoo_core import OptionError, ZooNote
from zoo_core.kernels import HalfLinear, Int8Linear, PackedLinear, has_fbgemm, has_packed_linear
from zoo_gpt.decoding.compiled import INT4, TYPES, CompiledTransformer, converter, unknown_settings, why_not
from zoo_gpt.gguf.quantised import QuantisedRows, fill
from zoo_gpt.network.attention import Attention
from zoo_gpt.network.mlp import MLP
from zoo_gpt.network.transformer import Transformer

LOG = logging.getLogger(__name__)
HALVES = (torch.float16, torch.bfloat16)


def default_dtype(device: torch.device) -> torch.dtype:
    """Return the type of ``--dtype auto``: the fastest in which a sample does not depend on its batch.

    That needs sums in float32. On a CPU the weights can be in half precision all the same; elsewhere torch's
    layers compute in the type of their weights.
    """
    return torch.float16 if device.type == "cpu" and has_fbgemm() else torch.float32


def optimize_for_inference(
    network: Transformer,
    *,
    device: torch.device,
    dtype: torch.dtype,
    quantised: Mapping[str, QuantisedRows] | None = None,
) -> Transformer:
    """Move a network to ``device`` with its weights in ``dtype`` and the fastest layers; change it in place.

    Weights are converted one by one, so that no second copy of them all is ever held. An embedding that is
    only looked up stays as it is in its file: only the rows that are used are ever read.

    Args:
        network: The network, on the CPU.
        device: The device to compute on.
        dtype: Type of the weights.
        quantised: The quantised matrices of the network's file, by their names in the network, which may have
            them on the meta device.

    Raises:
        OptionError: This device has no layers for ``dtype``.
    """
    if device.type == "cpu" and dtype in TYPES:
        reason = why_not(network.config)
        if reason is None:
            return CompiledTransformer(network, converter(dtype, quantised))
        text = f"Torch computes this model, more slowly: {reason}"
        if unknown_settings(network.config):
            warnings.warn(f"{text}.", ZooNote, stacklevel=2)
        else:
            LOG.info(text)  # of this machine, and all its models: zoo doctor says it
        if dtype == INT4:
            raise OptionError(f"--dtype int4 cannot be used: {reason}.", "Use --dtype auto.")
    fill(network, quantised or {})
    packed = _packed_layer(device, dtype)
    if packed is None:
        return network.to(device, dtype)
    compute_dtype = dtype if packed is PackedLinear else torch.float32
    layer = packed if packed is Int8Linear else partial(packed, dtype=dtype)
    head = network.embedding if network.head is None else network.head
    bias = getattr(head, "bias", None)
    network.head = layer(head.get_parameter("weight")[: network.config.vocab_out], bias)
    for block in network.blocks:
        for part in block.modules():
            if not isinstance(
                part, Attention | MLP
            ):  # a router stays exact: rounding would change its choices
                continue
            for name, linear in part.named_children():
                if isinstance(linear, nn.Linear):
                    setattr(part, name, layer(linear.weight, linear.bias))
        # The rest is small, but one tensor still mapped from a file would keep all of the file in memory.
        _convert(block, compute_dtype)
    _convert(network.norm, compute_dtype)
    return network


def _packed_layer(device: torch.device, dtype: torch.dtype) -> type[nn.Module] | None:
    """Return the layer to use for a type; None: torch's own."""
    if dtype == INT4:
        raise OptionError("--dtype int4 needs a CPU.", "Use --dtype auto, or --device cpu.")
    if dtype == torch.int8:
        if device.type != "cpu" or not has_fbgemm():
            raise OptionError("--dtype int8 needs an x86 CPU.", "Use --dtype auto, or --device cpu on x86.")
        return Int8Linear
    if device.type != "cpu":
        return None
    if has_packed_linear(dtype):
        return PackedLinear
    return HalfLinear if dtype in HALVES and has_fbgemm() else None


def _convert(module: nn.Module, dtype: torch.dtype) -> None:
    for parameter in module.parameters():
        parameter.data = parameter.data.to(dtype, copy=True)
