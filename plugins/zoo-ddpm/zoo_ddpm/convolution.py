"""Convolutions for sampling on a CPU: the same results in less time.

They run at the peak rate of the vector units as they are. What is left to save are multiplications, by
Winograd's minimal filtering and where pixels are repeated first, and the passes over memory around them.
All take channels-last pictures, and weights packed once in the layout of oneDNN's kernels.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from zoo_ddpm.unet import Upsample

Size = tuple[int, int]

WINOGRAD_PIXELS = 256
WINOGRAD_CHANNELS = 96
"""Below so many pixels or channels, Winograd's additions cost more than the multiplications it saves."""

kernels: Any = torch.ops.mkldnn
"""oneDNN's kernels as torch's own compiler calls them, which is where packed weights are to be had."""


def has_kernels(device: torch.device, dtype: torch.dtype) -> bool:
    """Whether this torch, on this processor, gives access to oneDNN's convolutions in ``dtype``."""
    if device.type != "cpu" or not hasattr(kernels, "_convolution_pointwise"):
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and bool(kernels._is_mkldnn_bf16_supported()))


class PackedConv(nn.Module):
    """A convolution whose weight has the layout of oneDNN's kernel; it can add its result to another map."""

    def __init__(self, conv: nn.Conv2d, size: Size, dtype: torch.dtype) -> None:
        super().__init__()
        self.bias = None if conv.bias is None else conv.bias.detach().to(dtype, copy=True)
        dilation, groups = (1, 1), 1
        self.geometry = (conv.padding, conv.stride, dilation, groups)
        self.weight = kernels._reorder_convolution_weight(
            conv.weight.detach().to(dtype), *self.geometry, (1, conv.in_channels, *size)
        )

    def forward(self, x: Tensor, bias: Tensor | None = None, residual: Tensor | None = None) -> Tensor:
        """Map (n, c_in, h, w) to (n, c_out, h', w'), by another bias (c_out,) and plus a map, if given."""
        bias = self.bias if bias is None else bias
        if residual is None:
            out = kernels._convolution_pointwise(x, self.weight, bias, *self.geometry, "none", [], "")
        else:
            out = kernels._convolution_pointwise.binary(
                x, residual, self.weight, bias, *self.geometry, "add", 1, None, [], None
            )
        assert isinstance(out, Tensor)
        return out


class WinogradConv(nn.Module):
    """A 3×3 convolution by minimal filtering, F(4, 3) down the columns; float32, height a multiple of 4.

    Lavin and Gray 2016 (arXiv:1509.09308), section 4: four rows of the result are sums of six products, each
    of one combination of six rows of the picture with one of the kernel's three rows. A product is a 1×3
    convolution of a picture a quarter as high: 6·3 multiplications in place of 4·9. Filtering across as well
    would save more of them, but spend it on additions, and lose precision.

    The combinations are polynomials, evaluated at the points 0, ±a, ±b and infinity. The paper's a = 1 and
    b = 2 lose half as much precision again.
    """

    a, b = 5 / 8, 3 / 2
    BIAS = torch.tensor([1 - 1 / a**2, (1 / a + 1) / 2, (1 / a - 1) / 2, 0, 0, 1 - a**2])
    """What to add at each point so that every row of the result gains 1."""

    def __init__(self, conv: nn.Conv2d, size: Size) -> None:
        super().__init__()
        self.bias = conv.get_parameter("bias").detach().clone()
        self.convs = nn.ModuleList()
        at_points = self._kernel_at_points() @ conv.weight.detach()  # (c_out, c_in, 6, 3)
        for at_point in at_points.unbind(2):
            row = nn.Conv2d(conv.in_channels, conv.out_channels, (1, 3), padding=(0, 1), device="meta")
            row.weight = nn.Parameter(at_point[:, :, None], requires_grad=False)
            row.bias = None
            self.convs.append(PackedConv(row, (size[0] // 4, size[1]), torch.float32))

    def _kernel_at_points(self) -> Tensor:
        """Return (6, 3): from a kernel's rows to its values at 0, a, -a, b, -b and infinity.

        Each is scaled by what makes :meth:`forward` cheapest: ±a by a, ±b by b², infinity by -b².
        """
        a, b = self.a, self.b
        points = [0, a, -a, b, -b]
        scales = [1, a, a, b**2, b**2]
        rows = [
            [scale * p**i / math.prod(p - q for q in points if q != p) for i in range(3)]
            for p, scale in zip(points, scales, strict=True)
        ]
        return torch.tensor([*rows, [0, 0, -(b**2)]], dtype=torch.float32)

    def forward(self, x: Tensor, bias: Tensor | None = None, residual: Tensor | None = None) -> Tensor:
        """Map (n, c_in, h, w) to (n, c_out, h, w), by another bias (c_out,) and plus a map, if given."""
        n, _, h, w = x.shape
        a, b = self.a, self.b
        at_0, at_a, at_minus_a, at_b, at_minus_b, at_infinity = self.convs
        biases = torch.outer(self.BIAS, self.bias if bias is None else bias)

        # The rows of every tile of four, x1 to x4. Rows x0 above it and x5 below it are its neighbours' x4
        # and x1, and zero outside the picture.
        x1, x2, x3, x4 = (x[:, :, i::4] for i in range(4))  # (n, c_in, h/4, w)
        odd, even = torch.sub(x3, x1, alpha=b**2), torch.sub(x4, x2, alpha=b**2)
        y_a = at_a(torch.add(even, odd, alpha=a), biases[1])
        y_minus_a = at_minus_a(torch.sub(even, odd, alpha=a), biases[2])
        # At 0: x4 - (a² + b²) x2 + a²b² x0. At infinity: x3 (a² + b²) - x5 - a²b² x1, over b².
        even.sub_(x2, alpha=a**2)[:, :, 1:].add_(x4[:, :, :-1], alpha=(a * b) ** 2)
        y_0 = at_0(even, biases[0])
        torch.add(x3, odd, alpha=(a / b) ** 2, out=odd)[:, :, :-1].sub_(x1[:, :, 1:], alpha=b**-2)
        y_infinity = at_infinity(odd, biases[5])
        torch.sub(x3, x1, alpha=a**2, out=odd)
        torch.sub(x4, x2, alpha=a**2, out=even)
        y_b = at_b(torch.add(even, odd, alpha=b))
        y_minus_b = at_minus_b(even.sub_(odd, alpha=b))

        out = torch.empty((n, y_0.shape[1], h, w), dtype=x.dtype, memory_format=torch.channels_last)
        sum_a, difference_a = y_a + y_minus_a, y_a.sub_(y_minus_a)
        sum_b, difference_b = y_b + y_minus_b, y_b.sub_(y_minus_b)
        torch.add(y_0.add_(sum_a, alpha=1 / a), sum_b, alpha=b**-2, out=out[:, :, 0::4])
        torch.add(difference_a, difference_b, alpha=1 / b, out=out[:, :, 1::4])
        torch.add(sum_b, sum_a, alpha=a, out=out[:, :, 2::4])
        torch.add(y_infinity.add_(difference_a, alpha=a**2), difference_b, alpha=b, out=out[:, :, 3::4])
        return out if residual is None else out.add_(residual)


class PackedUpsample(nn.Module):
    """:class:`~zoo_ddpm.unet.Upsample` as one transposed convolution.

    Once pixels are repeated, the three taps of a kernel meet only two different pixels: an even position sees
    w0 of the pixel before and w1 + w2 of its own, an odd one w0 + w1 of its own and w2 of the pixel after.
    A transposed convolution of stride 2 with the kernel (w2, w1 + w2, w0 + w1, w0) does just that.
    """

    TAPS = torch.tensor([[0, 0, 1], [0, 1, 1], [1, 1, 0], [1, 0, 0]], dtype=torch.float32)
    """Three taps to four, in each direction."""

    def __init__(self, upsample: Upsample, size: Size, dtype: torch.dtype) -> None:
        super().__init__()
        conv = upsample.conv
        self.bias = conv.get_parameter("bias").detach().to(dtype, copy=True)
        padding, output_padding, stride, dilation, groups = (1, 1), (0, 0), (2, 2), (1, 1), 1
        self.geometry = (padding, output_padding, stride, dilation, groups)
        weight = self.TAPS @ conv.weight.detach() @ self.TAPS.T  # (c_out, c_in, 4, 4)
        self.weight = kernels._reorder_convolution_transpose_weight(
            weight.to(dtype).transpose(0, 1).contiguous(), *self.geometry, (1, conv.in_channels, *size)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, 2h, 2w)."""
        double: Tensor = kernels._convolution_transpose_pointwise(
            x, self.weight, self.bias, *self.geometry, "none", [], ""
        )
        return double


def pack_3x3(conv: nn.Conv2d, size: Size, dtype: torch.dtype) -> nn.Module:
    """Pack a 3×3 convolution in the way that is fastest for pictures of ``size``."""
    h, w = size
    pays = h * w >= WINOGRAD_PIXELS and min(conv.in_channels, conv.out_channels) >= WINOGRAD_CHANNELS
    if dtype == torch.float32 and h % 4 == 0 and pays:
        return WinogradConv(conv, size)
    return PackedConv(conv, size, dtype)


def pack_linear(weight: Tensor, bias: Tensor, size: Size, dtype: torch.dtype) -> PackedConv:
    """Pack a linear layer over channels, weight (c_out, c_in), as a convolution of size 1."""
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 1, device="meta")
    conv.weight = nn.Parameter(weight[:, :, None, None], requires_grad=False)
    conv.bias = nn.Parameter(bias, requires_grad=False)
    return PackedConv(conv, size, dtype)
