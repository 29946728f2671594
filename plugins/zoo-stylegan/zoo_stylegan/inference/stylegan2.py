"""StyleGAN2's synthesis network for fast inference on a CPU: the same images in less time.

- Convolutions come from ``zoo_core.kernels``: weights are packed once, and many channels use Winograd. For
  that, all samples share the weights: the style modulates the input.
- Demodulation is deferred. A leaky ReLU commutes with a positive factor, so the factor is passed on as a gain
  and applied together with the next layer's style: one pass over memory less.
- Noise and leaky ReLU are applied in strips of rows that stay in the processor's cache.
- Images of a batch are computed one after another: only the weights are shared between them.

Read ``networks/stylegan2.py`` first: it says what is computed; this file says only how.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.kernels import PackedConv, Size, TiledWinogradConv, Workspace, give_back_memory
from zoo_stylegan.networks.layers import EPS, SLOPE
from zoo_stylegan.networks.stylegan2 import (
    SynthesisBlock,
    SynthesisLayer,
    SynthesisNetwork,
    ToRGB,
    fir_kernel,
    upsample,
)

STRIP_BYTES = 1 << 20
"""Size of a strip of rows for noise and leaky ReLU: slightly more than a core's cache."""
WINOGRAD_CHANNELS = 128
WINOGRAD_SIDE = 32
"""With fewer channels or a smaller side, Winograd's additions cost more than the multiplications it saves."""
STRIP_ROWS = 64
"""Rows of a strip for upsampling: enough that the rows computed twice do not matter."""


class FastSynthesis(nn.Module):
    """Maps styles to images as the synthesis network does; float32, on a CPU.

    The network's weights are taken over one convolution at a time, so that there is never a second copy of
    all: its own ``forward`` fails afterwards.
    """

    def __init__(self, synthesis: SynthesisNetwork) -> None:
        super().__init__()
        workspace = Workspace()
        self.blocks = nn.ModuleList(FastBlock(block, workspace) for block in synthesis.blocks)
        give_back_memory()

    def forward(self, ws: Tensor, noises: Sequence[Tensor | None] | None = None) -> Tensor:
        """Map styles (n, layers, w_dim) and noises, as the network takes them, to images (n, c, h, w)."""
        return torch.cat([self._synthesize_one(ws, noises, index) for index in range(len(ws))])

    def _synthesize_one(self, ws: Tensor, noises: Sequence[Tensor | None] | None, index: int) -> Tensor:
        styles = iter(ws[index : index + 1].unbind(1))
        own = iter([None] * ws.shape[1] if noises is None else [_select(noise, index) for noise in noises])
        x: Tensor | None = None
        image: Tensor | None = None
        gain: Tensor | None = None
        w = next(styles)
        for block in self.blocks:
            x, gain, image, w = block(x, gain, image, w, styles, own)
        assert image is not None
        return image


def _select(noise: Tensor | None, index: int) -> Tensor | None:
    """Return the noise of one sample, (1, 1, h, w); noise of length 1 is shared by all samples."""
    return noise if noise is None or len(noise) == 1 else noise[index : index + 1]


class FastBlock(nn.Module):
    """The layers of one resolution."""

    def __init__(self, block: SynthesisBlock, workspace: Workspace) -> None:
        super().__init__()
        self.const = (
            block.const[None].contiguous(memory_format=torch.channels_last) if block.is_first else None
        )
        self.layers = nn.ModuleList(FastLayer(layer, workspace) for layer in block.convolutions)
        self.skip, self.torgb = block.skip, block.torgb

    def forward(
        self,
        x: Tensor | None,
        gain: Tensor | None,
        image: Tensor | None,
        w: Tensor,
        styles: Iterator[Tensor],
        noises: Iterator[Tensor | None],
    ) -> tuple[Tensor, Tensor | None, Tensor | None, Tensor]:
        """Return the feature maps and the image at this block's resolution.

        Args:
            x: Feature maps (1, c, h, w) without their gain; None in the first block. Overwritten.
            gain: Gain still to be applied to x, (1, c); None: 1.
            image: Image of the block before, (1, 3, h, w), or None.
            w: Style of the first layer.
            styles: Styles of the following layers; that of ``torgb`` is also the next block's first.
            noises: Noise of each layer.

        Returns:
            The feature maps, their gain, the image, and the next block's first style.
        """
        shortcut = None
        if x is None:
            assert self.const is not None
            x = self.const.clone(memory_format=torch.preserve_format)
        elif self.skip is not None:
            if gain is not None:
                x, gain = _modulate_(x, gain), None
            shortcut = self.skip(x)
        for layer in self.layers:
            x, gain = layer(x, gain, w, next(noises))
            w = next(styles)
        if shortcut is not None:
            assert gain is not None
            x, gain = _modulate_(x, gain).add_(shortcut), None
        if image is not None:
            image = upsample(image)
        if self.torgb is not None:
            rgb = _to_rgb(self.torgb, x, gain, w)
            image = rgb if image is None else image.add_(rgb)
        return x, gain, image, w


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
            UpsampleConv(weight, (height, width), workspace)
            if layer.up
            else choose_conv(weight, (height, width), 1, workspace)
        )

    def forward(
        self, x: Tensor, gain: Tensor | None, w: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Map (1, in, h, w), which it overwrites, and its gain to (1, out, h, w) and a gain (1, out)."""
        style = self.affine(w)
        _modulate_(x, style if gain is None else style * gain)
        demodulation = (style.square() @ self.energy + EPS).rsqrt()  # (1, out), applied by the next layer
        noise = None if noise is None or not self.strength else noise * self.strength
        x = self.conv(x, (self.bias / demodulation[0]))
        for strip, rows in _strips(x):
            if noise is not None:
                strip.addcmul_(noise[:, :, rows], (1 / demodulation)[:, :, None, None])
            F.leaky_relu_(strip, SLOPE)
            if self.clamp is not None:
                bound = (self.clamp / (demodulation * self.gain))[:, :, None, None]
                torch.clamp(strip, -bound, bound, out=strip)
        return x, demodulation * self.gain


class UpsampleConv(nn.Module):
    """A 3×3 convolution to twice the size, followed by the low-pass filter.

    A transposed convolution of stride 2 is four convolutions, one for each parity of rows and columns, with
    some of the kernel's nine taps each.
    """

    def __init__(self, weight: Tensor, size: Size, workspace: Workspace) -> None:
        super().__init__()
        self.map = workspace.map
        half = (size[0] // 2, size[1] // 2)
        taps = ([2, 0], [1])  # the kernel's taps that meet a value, for even and for odd positions
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
        """Map (1, in, h, w) to (1, out, 2h, 2w) and add a bias (out,)."""
        _, _, height, width = x.shape
        out = self.map("upsampled", len(bias), 2 * height, 2 * width)
        for start in range(0, height, STRIP_ROWS):
            stop = min(start + STRIP_ROWS, height)
            # The filter reads one more row of x on each side; outside the map these are zero.
            strip = x[:, :, max(start - 1, 0) : stop + 1]
            strip = F.pad(strip, (0, 0, int(start == 0), int(stop == height)))
            out[:, :, 2 * start : 2 * stop] = self._strip(strip, bias)
        return out

    def _strip(self, x: Tensor, bias: Tensor) -> Tensor:
        """Map a strip (1, in, h + 2, w) to (1, out, 2h, 2w)."""
        _, _, height, width = x.shape
        double = self.map("double", len(bias), 2 * height + 1, 2 * width + 1)
        for index, phase in enumerate(self.phases):
            double[:, :, index // 2 :: 2, index % 2 :: 2] = phase(x)
        taps = (fir_kernel(x) * 4).expand(len(bias), 1, 4, 4)
        # The first and the last row are incomplete: they lack the rows beyond the strip.
        return F.conv2d(double[:, :, 1:-1], taps, bias, padding=(0, 1), groups=len(bias))


def choose_conv(weight: Tensor, size: Size, padding: int, workspace: Workspace) -> nn.Module:
    """Return the fastest convolution by (out, in, k, k) for feature maps of this size."""
    pays = min(weight.shape[:2]) >= WINOGRAD_CHANNELS and min(size) >= WINOGRAD_SIDE
    if weight.shape[2] == 3 and pays:
        return TiledWinogradConv(weight, padding, workspace)
    return PackedConv(weight, None, size, weight.dtype, padding=(padding, padding))


def _to_rgb(torgb: ToRGB, x: Tensor, gain: Tensor | None, w: Tensor) -> Tensor:
    """Apply ``torgb`` to x and its gain; style and gain modulate the weights, which are few."""
    style = torgb.affine(w) / math.sqrt(torgb.weight.shape[1])
    weight = torgb.weight * (style if gain is None else style * gain)[:, :, None, None]
    rgb = F.conv2d(x, weight, torgb.bias)
    return rgb if torgb.clamp is None else rgb.clamp(-torgb.clamp, torgb.clamp)


def _modulate_(x: Tensor, style: Tensor) -> Tensor:
    """Multiply the channels of x (1, c, h, w) by (1, c), in place."""
    return x.mul_(style[:, :, None, None])


def _strips(x: Tensor) -> Iterator[tuple[Tensor, slice]]:
    """Yield views of strips of rows of (1, c, h, w), and their rows as a slice."""
    _, c, height, width = x.shape
    count = max(1, STRIP_BYTES // (c * width * x.element_size()))
    for start in range(0, height, count):
        rows = slice(start, min(start + count, height))
        yield x[:, :, rows], rows
