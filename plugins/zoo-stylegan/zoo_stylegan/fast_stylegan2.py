"""StyleGAN2's synthesis, arranged for drawing on a CPU: the same images in less time.

- The convolutions are those of ``zoo_core.kernels``: packed once, with fewer multiplications where there
  are many channels. For that, all samples share their weights: a style scales what goes in.
- What comes out is not demodulated there and then. A leaky ReLU lets a positive factor pass, so it is carried
  along, and done together with the next layer's style: one pass over memory less.
- Noise and leaky ReLU go over the maps in strips of rows that stay in the processor's cache.
- Images of a batch are drawn one after the other: their maps have no more in common than their weights.

Read ``stylegan2.py`` first: it says what is computed, this file only how.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.kernels import PackedConv, Size, TiledWinogradConv, Workspace, give_back_memory
from zoo_stylegan.layers import EPS, SLOPE
from zoo_stylegan.stylegan2 import Block, Synthesis, SynthesisLayer, ToRGB, kernel, upsample

STRIP_BYTES = 1 << 20
"""Of a strip of rows: what a core's cache holds, and a little more."""
WINOGRAD_CHANNELS = 128
WINOGRAD_SIDE = 32
"""Below so many channels or pixels of a side, Winograd's additions cost more than they save."""
STRIP_ROWS = 64
"""Of a strip that is upsampled: enough that the rows computed twice do not matter."""


class FastSynthesis(nn.Module):
    """Styles to images, as :class:`~zoo_stylegan.stylegan2.Synthesis`; float32, on a CPU.

    Args:
        synthesis: The network. It is taken over, convolution by convolution, so that no second copy of the
            weights is ever held: its own ``forward`` does not work any more.
    """

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        workspace = Workspace()
        self.blocks = nn.ModuleList(FastBlock(block, workspace) for block in synthesis.blocks)
        give_back_memory()

    def forward(self, ws: Tensor, noises: Sequence[Tensor | None] | None = None) -> Tensor:
        """Map styles (n, layers, w_dim) and noises, as ``Synthesis`` takes them, to images (n, c, h, w)."""
        return torch.cat([self._draw(ws, noises, index) for index in range(len(ws))])

    def _draw(self, ws: Tensor, noises: Sequence[Tensor | None] | None, index: int) -> Tensor:
        styles = iter(ws[index : index + 1].unbind(1))
        own = iter([None] * ws.shape[1] if noises is None else [_of(noise, index) for noise in noises])
        x: Tensor | None = None
        image: Tensor | None = None
        carried: Tensor | None = None
        style = next(styles)
        for block in self.blocks:
            x, carried, image, style = block(x, carried, image, style, styles, own)
        assert image is not None
        return image


def _of(noise: Tensor | None, index: int) -> Tensor | None:
    """The noise of one sample, where all share it or each has its own."""
    return noise if noise is None or len(noise) == 1 else noise[index : index + 1]


class FastBlock(nn.Module):
    """The layers of one resolution."""

    def __init__(self, block: Block, workspace: Workspace) -> None:
        super().__init__()
        self.const = (
            block.const[None].contiguous(memory_format=torch.channels_last) if block.is_first else None
        )
        self.layers = nn.ModuleList(FastLayer(layer, workspace) for layer in block.convolutions)
        self.skip, self.torgb = block.skip, block.torgb

    def forward(
        self,
        x: Tensor | None,
        carried: Tensor | None,
        image: Tensor | None,
        style: Tensor,
        styles: Iterator[Tensor],
        noises: Iterator[Tensor | None],
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
        """Grow a map and an image.

        Args:
            x: (1, c, h, w) less its factors; None in the first block. It is overwritten.
            carried: The factors, (1, c); None: 1.
            image: (1, 3, h, w), None where there is none yet.
            style: For the first layer.
            styles: For those after it; the one for the colours is also the next block's first.
            noises: For each layer.

        Returns:
            The map, its factors, the image, and the style for the next block.
        """
        shortcut = None
        if x is None:
            assert self.const is not None
            x = self.const.clone(memory_format=torch.preserve_format)
        elif self.skip is not None:
            if carried is not None:
                x, carried = _scaled(x, carried), None
            shortcut = self.skip(x)
        for layer in self.layers:
            x, carried = layer(x, carried, style, next(noises))
            style = next(styles)
        if shortcut is not None:
            assert carried is not None
            x, carried = _scaled(x, carried).add_(shortcut), None
        if image is not None:
            image = upsample(image)
        if self.torgb is not None:
            colours = _colours(self.torgb, x, carried, style)
            image = colours if image is None else image.add_(colours)
        return x, carried, image, style


class FastLayer(nn.Module):
    """A modulated 3×3 convolution, noise, bias and leaky ReLU."""

    def __init__(self, layer: SynthesisLayer, workspace: Workspace) -> None:
        super().__init__()
        self.affine = layer.affine
        self.energy = layer.weight.detach().square().sum((2, 3)).T.contiguous()  # (in, out)
        self.bias, self.strength = layer.bias, layer.noise_strength.item()
        self.gain, self.clamp = layer.gain, layer.clamp
        height, width = layer.noise_const.shape
        weight = layer.weight.detach()
        del layer.weight
        self.conv = (
            Upsampling(weight, (height, width), workspace)
            if layer.up
            else pack(weight, (height, width), 1, workspace)
        )

    def forward(
        self, x: Tensor, carried: Tensor | None, w: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Map (1, in, h, w) less its factors, which it overwrites, to (1, out, h, w) and factors (1, out)."""
        style = self.affine(w)
        _scaled(x, style if carried is None else style * carried)
        factor = (style.square() @ self.energy + EPS).rsqrt()  # (1, out), of what the convolution makes
        noise = None if noise is None or not self.strength else noise * self.strength
        x = self.conv(x, (self.bias / factor[0]))
        for strip, rows in _strips(x):
            if noise is not None:
                strip.addcmul_(noise[:, :, rows], (1 / factor)[:, :, None, None])
            F.leaky_relu_(strip, SLOPE)
            if self.clamp is not None:
                bound = (self.clamp / (factor * self.gain))[:, :, None, None]
                torch.clamp(strip, -bound, bound, out=strip)
        return x, factor * self.gain


class Upsampling(nn.Module):
    """A 3×3 convolution to twice the size, and the blur after it.

    A transposed convolution of stride 2 makes four maps, by whether rows and columns are even or odd, each
    a convolution with some of the kernel's nine taps.
    """

    def __init__(self, weight: Tensor, size: Size, workspace: Workspace) -> None:
        super().__init__()
        self.map = workspace.map
        half = (size[0] // 2, size[1] // 2)
        taps = ([2, 0], [1])
        """By parity: which of the kernel's three meet a value."""
        self.phases = nn.ModuleList(
            PackedConv(
                weight[:, :, rows][:, :, :, columns],
                None,
                half,
                weight.dtype,
                padding=(len(rows) - 1, len(columns) - 1),
            )
            for rows in taps
            for columns in taps
        )

    def forward(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map (1, in, h, w) to (1, out, 2h, 2w), plus bias (out,)."""
        _, _, height, width = x.shape
        out = self.map("upsampled", len(bias), 2 * height, 2 * width)
        for start in range(0, height, STRIP_ROWS):
            stop = min(start + STRIP_ROWS, height)
            # The blur reaches one row of x further on each side; beyond the map there is nothing but zeros.
            seen = x[:, :, max(start - 1, 0) : stop + 1]
            seen = F.pad(seen, (0, 0, int(start == 0), int(stop == height)))
            out[:, :, 2 * start : 2 * stop] = self._strip(seen, bias)
        return out

    def _strip(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map a strip (1, in, h + 2, w) to (1, out, 2h, 2w)."""
        _, _, height, width = x.shape
        double = self.map("double", len(bias), 2 * height + 1, 2 * width + 1)
        for index, phase in enumerate(self.phases):
            double[:, :, index // 2 :: 2, index % 2 :: 2] = phase(x)
        taps = (kernel(x) * 4).expand(len(bias), 1, 4, 4)
        # The first and the last row lack what lies beyond the strip.
        return F.conv2d(double[:, :, 1:-1], taps, bias, padding=(0, 1), groups=len(bias))


def pack(weight: Tensor, size: Size, padding: int, workspace: Workspace) -> nn.Module:
    """Pack a convolution (out, in, k, k) of maps of this size in the way that is fastest."""
    pays = min(weight.shape[:2]) >= WINOGRAD_CHANNELS and min(size) >= WINOGRAD_SIDE
    if weight.shape[2] == 3 and pays:
        return TiledWinogradConv(weight, padding, workspace)
    return PackedConv(weight, None, size, weight.dtype, padding=(padding, padding))


def _colours(torgb: ToRGB, x: Tensor, carried: Tensor | None, w: Tensor) -> Tensor:
    """Colours of a map less its factors: these go into the weights, which are few."""
    style = torgb.affine(w) / math.sqrt(torgb.weight.shape[1])
    weight = torgb.weight * (style if carried is None else style * carried)[:, :, None, None]
    colours = F.conv2d(x, weight, torgb.bias)
    return colours if torgb.clamp is None else colours.clamp(-torgb.clamp, torgb.clamp)


def _scaled(x: Tensor, by: Tensor) -> Tensor:
    """Multiply the channels of x (1, c, h, w) by (1, c), in place."""
    return x.mul_(by[:, :, None, None])


def _strips(x: Tensor) -> Iterator[tuple[Tensor, slice]]:
    """Views of strips of rows of (1, c, h, w), with the rows they are."""
    _, c, height, width = x.shape
    count = max(1, STRIP_BYTES // (c * width * x.element_size()))
    for start in range(0, height, count):
        rows = slice(start, min(start + count, height))
        yield x[:, :, rows], rows
