"""Which fast kernels this torch has on this processor."""

from __future__ import annotations

from typing import Any

import torch

Size = tuple[int, int]
"""Height and width."""

onednn: Any = torch.ops.mkldnn
"""oneDNN's kernels as torch's own compiler calls them; only here can packed weights be had."""
fbgemm: Any = torch.ops.quantized
"""FBGEMM's kernels, which every x86 processor with AVX2 can run."""


def has_arithmetic(device: torch.device, dtype: torch.dtype | None) -> bool:
    """Return False for half precision on a CPU without instructions for it, where torch multiplies slowly."""
    return device.type != "cpu" or dtype not in _HALVES or _multiplies(dtype)


def has_packed_conv(device: torch.device, dtype: torch.dtype) -> bool:
    """Return True if oneDNN's packed convolutions can compute in ``dtype`` on ``device``."""
    return device.type == "cpu" and hasattr(onednn, "_convolution_pointwise") and _computes_in(dtype)


def has_packed_linear(dtype: torch.dtype) -> bool:
    """Return True if oneDNN's packed linear layers can compute in ``dtype`` on this CPU."""
    return hasattr(onednn, "_linear_pointwise") and _computes_in(dtype)


def has_fbgemm() -> bool:
    """Return True if this CPU can run FBGEMM's linear layers."""
    return "fbgemm" in torch.backends.quantized.supported_engines


def _computes_in(dtype: torch.dtype) -> bool:
    return dtype == torch.float32 or (dtype == torch.bfloat16 and _multiplies(dtype))


_HALVES = {torch.bfloat16: "_is_mkldnn_bf16_supported", torch.float16: "_is_mkldnn_fp16_supported"}
"""What says whether oneDNN multiplies these types on this CPU."""


def _multiplies(dtype: torch.dtype) -> bool:
    supported = getattr(onednn, _HALVES[dtype], None)
    return supported is None or bool(supported())
