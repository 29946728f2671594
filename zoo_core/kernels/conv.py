"""Convolutions whose weights are packed once, in the layout of oneDNN's CPU kernels."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from zoo_core.kernels.capabilities import Size, onednn


class PackedConv(nn.Module):
    """A convolution by (c_out, c_in, k, k) in the layout of oneDNN's kernel for one image of ``size``.

    It can add its result to another map. For a batch oneDNN may choose another layout, and then reorders the
    weights at each call: with AVX2, 2560 to 1280 channels at 16×16, that takes seven times as long as the
    convolution. Large weights are therefore applied to one image at a time.
    """

    LARGE = 2**18
    """Weights, from which on an image at a time is no slower than a batch."""

    def __init__(
        self,
        weight: Tensor,
        bias: Tensor | None,
        size: Size,
        dtype: torch.dtype,
        *,
        padding: Size = (0, 0),
        stride: Size = (1, 1),
    ) -> None:
        super().__init__()
        self.bias = None if bias is None else bias.detach().to(dtype, copy=True)
        dilation, groups = (1, 1), 1
        self.geometry = (padding, stride, dilation, groups)
        self.weight = onednn._reorder_convolution_weight(
            weight.detach().to(dtype), *self.geometry, (1, weight.shape[1], *size)
        )

    def forward(self, x: Tensor, bias: Tensor | None = None, residual: Tensor | None = None) -> Tensor:
        """Map (n, c_in, h, w) to (n, c_out, h', w'), by another bias (c_out,) and plus a map, if given."""
        bias = self.bias if bias is None else bias
        if len(x) > 1 and self.weight.numel() >= self.LARGE:
            added = [None] * len(x) if residual is None else [residual[i : i + 1] for i in range(len(x))]
            return torch.cat([self(x[i : i + 1], bias, each) for i, each in enumerate(added)])
        if residual is None:
            out = onednn._convolution_pointwise(x, self.weight, bias, *self.geometry, "none", [], "")
        else:
            out = onednn._convolution_pointwise.binary(
                x, residual, self.weight, bias, *self.geometry, "add", 1, None, [], None
            )
        assert isinstance(out, Tensor)
        return out


class PackedUpsampleConv(nn.Module):
    """Nearest-neighbour upsampling and a 3×3 convolution, as one transposed convolution.

    Once pixels are repeated, the three taps of a kernel meet only two different pixels: an even position sees
    w0 of the pixel before and w1 + w2 of its own, an odd one w0 + w1 of its own and w2 of the pixel after.
    A transposed convolution of stride 2 with the kernel (w2, w1 + w2, w0 + w1, w0) does just that.
    """

    TAPS = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float32)
    """Three taps to four, in each direction."""

    def __init__(self, conv: nn.Conv2d, size: Size, dtype: torch.dtype) -> None:
        super().__init__()
        self.bias = conv.get_parameter("bias").detach().to(dtype, copy=True)
        padding, output_padding, stride, dilation, groups = (1, 1), (0, 0), (2, 2), (1, 1), 1
        self.geometry = (padding, output_padding, stride, dilation, groups)
        weight = self.TAPS @ conv.weight.detach() @ self.TAPS.T  # (c_out, c_in, 4, 4)
        self.weight = onednn._reorder_convolution_transpose_weight(
            weight.to(dtype).transpose(0, 1).contiguous(), *self.geometry, (1, conv.in_channels, *size)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, 2h, 2w)."""
        double: Tensor = onednn._convolution_transpose_pointwise(
            x, self.weight, self.bias, *self.geometry, "none", [], ""
        )
        return double


def pack_conv(conv: nn.Conv2d, size: Size, dtype: torch.dtype) -> PackedConv:
    """Pack a convolution for images of ``size``."""
    padding, (down, across) = conv.padding, conv.stride
    assert not isinstance(padding, str)
    top, left = padding
    return PackedConv(conv.weight, conv.bias, size, dtype, padding=(top, left), stride=(down, across))


def pack_linear(weight: Tensor, bias: Tensor, size: Size, dtype: torch.dtype) -> PackedConv:
    """Pack a linear layer over channels, weight (c_out, c_in), as a convolution of size 1."""
    return PackedConv(weight[:, :, None, None], bias, size, dtype)
