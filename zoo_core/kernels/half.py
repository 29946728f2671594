"""Half precision on a CPU without arithmetic for it: the weights stay short, and float32 computes.

torch multiplies such tensors with loops of its own there, up to twelve times as slow as oneDNN in float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.overrides import TorchFunctionMode

from zoo_core.kernels.capabilities import has_arithmetic

__all__ = ["half_in_float32", "has_arithmetic"]

PRODUCTS = frozenset(
    [
        *(torch.conv1d, torch.conv2d, torch.conv3d),
        *(torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d),
        *(F.conv1d, F.conv2d, F.conv3d, F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d),
        *(F.linear, F.scaled_dot_product_attention, torch.einsum),
        *(torch.matmul, torch.mm, torch.bmm, torch.mv, torch.addmm, torch.baddbmm, torch.addmv),
        *(Tensor.matmul, Tensor.mm, Tensor.bmm, Tensor.mv, Tensor.addmm, Tensor.baddbmm, Tensor.addmv),
        *(Tensor.__matmul__, Tensor.__rmatmul__),
        *(F.group_norm, torch.group_norm, F.layer_norm, torch.layer_norm),
    ]
)
"""The functions that take long, each with one result."""


def half_in_float32(device: torch.device, dtype: torch.dtype | None) -> AbstractContextManager[object]:
    """Return a context in which tensors of ``dtype`` are multiplied in float32, if this device needs that."""
    if has_arithmetic(device, dtype):
        return nullcontext()
    return _ProductsInFloat32()


class _ProductsInFloat32(TorchFunctionMode):
    """While it is entered, products of half-precision tensors are computed in float32, then rounded."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Compute a product in float32; leave other functions alone."""
        kwargs = kwargs or {}
        if func not in PRODUCTS:
            return func(*args, **kwargs)
        halves = [each.dtype for each in _tensors([*args, *kwargs.values()]) if _is_half(each)]
        if not halves:
            return func(*args, **kwargs)
        out: Tensor = func(*map(_wide, args), **{name: _wide(value) for name, value in kwargs.items()})
        return out.to(halves[0])


def _tensors(values: Sequence[Any]) -> list[Tensor]:
    nested = [each if isinstance(each, (list, tuple)) else [each] for each in values]
    return [each for group in nested for each in group if isinstance(each, Tensor)]


def _is_half(x: Tensor) -> bool:
    return x.dtype in (torch.bfloat16, torch.float16)


def _wide(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return type(value)(map(_wide, value))
    return value.float() if isinstance(value, Tensor) and _is_half(value) else value
