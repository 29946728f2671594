"""3×3 convolutions by Winograd's minimal filtering, with fewer multiplications, on a CPU.

Lavin & Gray 2016, "Fast Algorithms for Convolutional Neural Networks", arXiv:1509.09308.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.kernels.capabilities import Size
from zoo_core.kernels.conv import PackedConv
from zoo_core.kernels.workspace import Workspace

WINOGRAD_PIXELS = 256
WINOGRAD_CHANNELS = 96
"""With fewer pixels or channels, Winograd's additions cost more than the multiplications it saves."""


class WinogradConv(nn.Module):
    """A 3×3 convolution with padding 1, by minimal filtering F(4, 3) along the columns; float32.

    Lavin and Gray 2016 (arXiv:1509.09308), section 4: four output rows are sums of six products. Each product
    is a 1×3 convolution of a combination of six input rows by a combination of the kernel's three rows, on a
    quarter of the height: 6·3 multiplications instead of 4·9. Filtering along the rows too would save more
    multiplications, but spend as much on additions, and lose precision.

    The combinations are values of polynomials at the points 0, ±a, ±b and infinity. The paper's a = 1 and
    b = 2 have 1.5 times the rounding error.

    Args:
        weight: The kernel, (c_out, c_in, 3, 3).
        bias: The bias, (c_out,).
        size: Height and width of the usual images. Others give the same, perhaps not as fast.
    """

    STRIP = 2**20
    """Numbers of one product computed at once, so that intermediate values take little memory."""
    a, b = 5 / 8, 3 / 2
    BIAS = torch.tensor([1 - 1 / a**2, (1 / a + 1) / 2, (1 / a - 1) / 2, 0, 0, 1 - a**2])
    """What to add to the product at each point to add 1 to every output row."""

    def __init__(self, weight: Tensor, bias: Tensor, size: Size) -> None:
        super().__init__()
        self.bias = bias.detach().clone()
        c_out, c_in = weight.shape[:2]
        # Products by three long rows: one for each pair of channels takes about five times as long.
        rows = weight.detach().float().permute(2, 0, 1, 3).reshape(3, -1)
        tiles = -(-size[0] // 4)  # of four rows
        strips = -(-tiles * size[1] * max(c_in, c_out) // self.STRIP)
        self.tiles = -(-tiles // strips)
        self.convs = nn.ModuleList(
            PackedConv(
                (point @ rows).view(c_out, c_in, 1, 3),
                None,
                (self.tiles, size[1]),
                torch.float32,
                padding=(0, 1),
            )
            for point in self.kernel_at_points()
        )

    @classmethod
    def kernel_at_points(cls) -> Tensor:
        """Return (6, 3), the matrix from a kernel's rows to its values at 0, a, -a, b, -b and infinity.

        They are scaled so that :meth:`forward` is cheapest: at ±a by a, at ±b by b², at infinity by -b².
        """
        a, b = cls.a, cls.b
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
        if h % 4:
            x = F.pad(x, (0, 0, 0, -h % 4))  # rows below the image are zero
        biases = torch.outer(self.BIAS, self.bias if bias is None else bias)
        tiles = x.shape[2] // 4
        shape = (n, len(self.bias), 4 * tiles, w)
        out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
        for first in range(0, tiles, self.tiles):
            last = min(first + self.tiles, tiles)
            products = self._products(x, first, last, biases)
            rows = out[:, :, 4 * first : 4 * last].view(n, -1, last - first, 4, w)
            _from_points(products, rows, dim=3)
        out = out[:, :, :h]
        return out if residual is None else out.add_(residual)

    def _products(self, x: Tensor, first: int, last: int, biases: Tensor) -> list[Tensor]:
        """Return the six products (n, c_out, last - first, w) for tiles from ``first`` up to ``last``."""
        a, b = self.a, self.b
        at_0, at_a, at_minus_a, at_b, at_minus_b, at_infinity = self.convs
        # x1 to x4 are the rows of every tile of four. x0, the row above a tile, is x4 of the tile above; x5,
        # the row below, is x1 of the tile below. Outside the image they are zero.
        every_1, every_4 = x[:, :, 0::4], x[:, :, 3::4]
        x1, x2, x3, x4 = (
            x[:, :, 4 * first + i : 4 * last : 4] for i in range(4)
        )  # (n, c_in, last - first, w)
        top, bottom = int(first == 0), int(last == every_1.shape[2])
        odd, even = torch.sub(x3, x1, alpha=b**2), torch.sub(x4, x2, alpha=b**2)
        y_a = at_a(torch.add(even, odd, alpha=a), biases[1])
        y_minus_a = at_minus_a(torch.sub(even, odd, alpha=a), biases[2])
        # At 0: x4 - (a² + b²) x2 + a²b² x0. At infinity: x3 (a² + b²) - x5 - a²b² x1, over b².
        x0, x5 = every_4[:, :, first + top - 1 : last - 1], every_1[:, :, first + 1 : last + 1 - bottom]
        even.sub_(x2, alpha=a**2)[:, :, top:].add_(x0, alpha=(a * b) ** 2)
        y_0 = at_0(even, biases[0])
        torch.add(x3, odd, alpha=(a / b) ** 2, out=odd)[:, :, : odd.shape[2] - bottom].sub_(x5, alpha=b**-2)
        y_infinity = at_infinity(odd, biases[5])
        torch.sub(x3, x1, alpha=a**2, out=odd)
        torch.sub(x4, x2, alpha=a**2, out=even)
        y_b = at_b(torch.add(even, odd, alpha=b))
        y_minus_b = at_minus_b(even.sub_(odd, alpha=b))
        return [y_0, y_a, y_minus_a, y_b, y_minus_b, y_infinity]


class TiledWinogradConv(nn.Module):
    """A 3×3 convolution by minimal filtering F(4×4, 3×3) along both axes; float32, images of any size.

    Lavin and Gray 2016 (arXiv:1509.09308), section 4.1: a tile of 6×6 inputs gives 4×4 outputs by 36
    multiplications instead of 144. Over all tiles and channels these are 36 matrix products. With many
    channels it is faster than :class:`WinogradConv`, and needs four times the memory of the weights.

    The output lies in the workspace, under the name ``convolved``.
    """

    STRIP = 4
    """Rows of tiles computed at once, so that intermediate values stay in the processor's cache."""

    def __init__(self, weight: Tensor, padding: int, workspace: Workspace) -> None:
        super().__init__()
        self.take = workspace.take
        c_out, c_in = weight.shape[:2]
        at_points = WinogradConv.kernel_at_points()
        taps = weight.detach().float().flatten(2)  # (c_out, c_in, 9)
        self.weight = torch.empty(36, c_in, c_out)  # by column, then by row
        # One point at a time: all at once would take three times the memory.
        for index, values in enumerate(self.weight):
            column, row = divmod(index, 6)
            values.copy_((taps @ torch.outer(at_points[row], at_points[column]).flatten()).T)
        self.padding = padding

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map (1, c_in, h, w) to (1, c_out, h', w') and add a bias (c_out,)."""
        _, c_in, h, w = x.shape
        c_out, p = len(bias), self.padding
        height, width = h + 2 * p - 2, w + 2 * p - 2
        down, across = -(-height // 4), -(-width // 4)  # tiles
        image = x.permute(0, 2, 3, 1)[0]  # (h, w, c_in)
        out = self.take("convolved", 1, 4 * down, 4 * across, c_out)
        for first in range(0, down, self.STRIP):
            last = min(first + self.STRIP, down)
            rows = last - first
            padded = self.take("padded", 4 * rows + 2, 4 * across + 2, c_in).zero_()
            top, bottom = max(4 * first - p, 0), min(4 * last + 2 - p, h)
            start = top + p - 4 * first
            padded[start : start + bottom - top, p : p + w] = image[top:bottom]
            by_row = self.take("by row", 6, rows, 4 * across + 2, c_in)
            self._at_points(padded, by_row, dim=0)
            by_both = self.take("by both", 6, 6, rows, across, c_in)
            self._at_points(by_row, by_both, dim=2)
            tiles = by_both.view(36, rows * across, c_in)
            products = torch.bmm(tiles, self.weight, out=self.take("products", 36, rows * across, c_out))
            columns = self.take("columns", 6, rows, across, 4, c_out)
            _from_points(products.view(6, 6, rows, across, c_out), columns, dim=3)
            strip = out[0, 4 * first : 4 * last].view(rows, 4, 4 * across, c_out)
            _from_points(columns.view(6, rows, 4 * across, c_out), strip, dim=1)
            strip.add_(bias)
        return out.permute(0, 3, 1, 2)[:, :, :height, :width]

    def _at_points(self, x: Tensor, out: Tensor, dim: int) -> None:
        """Write the values at point i of tiles of six, one every four along an axis, into ``out[i]``."""
        a, b = WinogradConv.a, WinogradConv.b
        span = x.shape[dim] - 5
        x0, x1, x2, x3, x4, x5 = (
            x.narrow(dim, start, span)[(slice(None),) * dim + (slice(None, None, 4),)] for start in range(6)
        )
        odd = torch.sub(x3, x1, alpha=b**2, out=self.take("odd", *x1.shape))
        even = torch.sub(x4, x2, alpha=b**2, out=self.take("even", *x1.shape))
        torch.add(even, odd, alpha=a, out=out[1])
        torch.sub(even, odd, alpha=a, out=out[2])
        torch.add(even.sub_(x2, alpha=a**2), x0, alpha=(a * b) ** 2, out=out[0])
        torch.sub(torch.add(x3, odd, alpha=(a / b) ** 2, out=odd), x5, alpha=b**-2, out=out[5])
        torch.sub(x3, x1, alpha=a**2, out=odd)
        torch.sub(x4, x2, alpha=a**2, out=even)
        torch.add(even, odd, alpha=b, out=out[3])
        torch.sub(even, odd, alpha=b, out=out[4])


def _from_points(y: Sequence[Tensor] | Tensor, out: Tensor, dim: int) -> None:
    """Interpolate four outputs along an axis of ``out`` from the six points ``y[i]``, which it overwrites."""
    a, b = WinogradConv.a, WinogradConv.b
    sum_a, difference_a = y[1] + y[2], y[1].sub_(y[2])
    sum_b, difference_b = y[3] + y[4], y[3].sub_(y[4])
    out0, out1, out2, out3 = out.unbind(dim)
    torch.add(y[0].add_(sum_a, alpha=1 / a), sum_b, alpha=b**-2, out=out0)
    torch.add(difference_a, difference_b, alpha=1 / b, out=out1)
    torch.add(sum_b, sum_a, alpha=a, out=out2)
    torch.add(y[5].add_(difference_a, alpha=a**2), difference_b, alpha=b, out=out3)


def pack_3x3(weight: Tensor, bias: Tensor, size: Size, dtype: torch.dtype) -> nn.Module:
    """Return the fastest 3×3 convolution with padding 1 for images of ``size``."""
    pays = size[0] * size[1] >= WINOGRAD_PIXELS and min(weight.shape[:2]) >= WINOGRAD_CHANNELS
    if dtype == torch.float32 and pays:
        return WinogradConv(weight, bias, size)
    return PackedConv(weight, bias, size, dtype, padding=(1, 1))
