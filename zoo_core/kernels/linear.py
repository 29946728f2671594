"""Linear layers for inference on a CPU: weights packed for torch's fastest kernels, in 32, 16 or 8 bits.

The time per token is the time to read all weights once. torch's own product of a matrix with a few vectors
reads them with one core, or copies them first. These layers read at full memory bandwidth, and in 16 or 8
bits a half or a quarter of the bytes.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from zoo_core.errors import WeightsError
from zoo_core.kernels.capabilities import fbgemm, onednn


class PackedLinear(nn.Module):
    """A linear layer with its weight (out, in) in the type it computes in, packed by oneDNN."""

    ROWS = 8
    """Input rows to pack for. The float32 layout for one row is slow for more, and no faster for one."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = onednn._reorder_linear_weight(weight.detach().to(dtype), self.ROWS)
        self.bias = None if bias is None else bias.detach().to(dtype, copy=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out)."""
        out: Tensor = onednn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


class HalfLinear(nn.Module):
    """A linear layer with its weight (out, in) in float16 that computes in float32, with FBGEMM.

    Raises:
        WeightsError: A weight is too large for float16.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        # bfloat16 has fewer digits than float16, and a wider range, which weights do not need.
        rounded = weight.detach().to(dtype).float()
        if float(rounded.abs().amax()) > torch.finfo(torch.float16).max:
            raise WeightsError("A weight is too large for float16.", "Use --dtype float32.")
        with _fbgemm_engine():
            self.packed = fbgemm.linear_prepack_fp16(rounded, None if bias is None else bias.detach().float())

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) float32 to (…, out) float32."""
        out: Tensor = fbgemm.linear_dynamic_fp16(x, self.packed)
        return out


class Int8Linear(nn.Module):
    """A linear layer with its weight (out, in) in 8 bits and one scale per output channel, with FBGEMM.

    Only the rounding of the weight matters: the input is split into a coarse and a fine part of 7 bits each,
    two rows of integers that one pass over the weights multiplies. Integer sums are exact, so a row's result
    is bitwise independent of the rows beside it.
    """

    LEVELS = 63
    """Largest integer of a part, for either sign: the kernel adds two products of 7 and 8 bits in 16 bits."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        weight = weight.detach().float()
        scales = (weight.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        zeros = torch.zeros(len(weight), dtype=torch.long)
        with _fbgemm_engine():
            quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
            self.packed = fbgemm.linear_prepack(quantized, None)
        self.bias = None if bias is None else bias.detach().float().clone()

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) float32 to (…, out) float32."""
        rows = x.flatten(0, -2)
        unit = rows.abs().amax(1, keepdim=True).clamp_(min=1e-30).div_(self.LEVELS)
        scaled = rows / unit
        coarse = scaled.round()
        parts = torch.cat([coarse, scaled.sub_(coarse).mul_(2 * self.LEVELS)])
        # The input's scale and zero point: integers in [−63, 63] are stored as [1, 127].
        out = fbgemm.linear_with_input_q_dq_qweight_dq_output_fp32(parts, 1.0, self.LEVELS + 1, self.packed)
        coarse, fine = out.chunk(2)
        # In place: eight rows of GPT-2's logits take 0.12 ms, and 0.22 ms with newly allocated memory.
        total: Tensor = coarse.add_(fine, alpha=1 / (2 * self.LEVELS)).mul_(unit)
        if self.bias is not None:
            total.add_(self.bias)
        return total.view(*x.shape[:-1], -1)


@contextmanager
def _fbgemm_engine() -> Iterator[None]:
    """Set the quantization engine to FBGEMM while packing, and restore it: it is a setting of the process."""
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        with warnings.catch_warnings():
            # torch warns that quantized tensors will be removed; these live for one statement.
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        torch.backends.quantized.engine = engine
