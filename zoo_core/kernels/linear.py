"""Linear layers for sampling on a CPU: weights in short types, packed as a kernel of torch's reads them best.

A token's time is that of reading all weights once. torch's own product of a matrix with a few vectors reads
them with one core, or copies them first; these read as fast as the memory gives, and half or a quarter of it.
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
    """A linear layer that keeps its weight (out, in) in the type it computes in, packed by oneDNN."""

    ROWS = 8
    """What the layout is chosen for; that for one row, in float32, is slow for more and no faster for one."""

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        self.weight = onednn._reorder_linear_weight(weight.detach().to(dtype), self.ROWS)
        self.bias = None if bias is None else bias.detach().to(dtype, copy=True)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out)."""
        out: Tensor = onednn._linear_pointwise(x, self.weight, self.bias, "none", [], "")
        return out


class HalfLinear(nn.Module):
    """A linear layer that keeps its weight (out, in) in half precision and computes in float32, by FBGEMM.

    Raises:
        WeightsError: A weight is larger than half precision can say.
    """

    def __init__(self, weight: Tensor, bias: Tensor | None, dtype: torch.dtype) -> None:
        super().__init__()
        # bfloat16 has fewer digits than float16, and a wider range, which weights do not use.
        rounded = weight.detach().to(dtype).float()
        if float(rounded.abs().amax()) > torch.finfo(torch.float16).max:
            raise WeightsError("A weight is larger than float16 can say.", "Try --dtype float32.")
        with _prepared_for_fbgemm():
            packed = fbgemm.linear_prepack_fp16(rounded, None if bias is None else bias.detach().float())
        self.packed = packed

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) float32 to (…, out) float32."""
        out: Tensor = fbgemm.linear_dynamic_fp16(x, self.packed)
        return out


class Int8Linear(nn.Module):
    """A linear layer that keeps its weight (out, in) in 8 bits, with a scale for each output, by FBGEMM.

    Only the weight is rounded so that it shows: what comes in is cut into a coarse and a fine part of 7 bits
    each, two rows of integers that one pass over the weights multiplies. Sums of integers have no rounding:
    a row's result is the same, bit by bit, whatever rows are beside it.
    """

    LEVELS = 63
    """Of each sign, in a part: the kernel adds two products of 7 and 8 bits in 16."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        weight = weight.detach().float()
        scales = (weight.abs().amax(1) / 127).clamp(min=torch.finfo(torch.float32).tiny)
        zeros = torch.zeros(len(weight), dtype=torch.long)
        with _prepared_for_fbgemm():
            quantized = torch.quantize_per_channel(weight, scales, zeros, 0, torch.qint8)
            self.packed = fbgemm.linear_prepack(quantized, None)
        self.bias = None if bias is None else bias.detach().float().clone()

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) float32 to (…, out) float32."""
        rows = x.flatten(0, -2)
        unit = rows.abs().amax(1, keepdim=True).clamp_(min=1e-30).div_(self.LEVELS)
        in_units = rows / unit
        coarse = in_units.round()
        parts = torch.cat([coarse, in_units.sub_(coarse).mul_(2 * self.LEVELS)])
        # The scale and zero of what comes in: whole numbers in [−63, 63] as [1, 127].
        out = fbgemm.linear_with_input_q_dq_qweight_dq_output_fp32(parts, 1.0, self.LEVELS + 1, self.packed)
        coarse, fine = out.chunk(2)
        # In place: eight rows of GPT-2's logits take 0.12 ms so, and 0.22 ms in memory taken anew.
        whole: Tensor = coarse.add_(fine, alpha=1 / (2 * self.LEVELS)).mul_(unit)
        if self.bias is not None:
            whole.add_(self.bias)
        return whole.view(*x.shape[:-1], -1)


@contextmanager
def _prepared_for_fbgemm() -> Iterator[None]:
    """Weights are packed for the engine of the moment, a setting of the whole process: put it back."""
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        with warnings.catch_warnings():
            # Of quantized tensors' end in some later torch: these live for one statement.
            warnings.simplefilter("ignore", UserWarning)
            yield
    finally:
        torch.backends.quantized.engine = engine
