"""StyleGAN3's synthesis, arranged for drawing on a CPU: the same images in less time.

- Upsampling filters only what is there. Of a filter's taps, those that meet a value rather than a zero put
  between are different ones for each phase: each is a short filter of its own, and the zeros never exist.
- Up, leaky ReLU and down go over a part of the map, so many rows of so many channels, that stays in the
  processor's cache: the map at the higher rate never exists as a whole.
- Filters act on one axis at a time, and on channels-last maps; demodulation is a factor of the first filter.
- Convolutions are packed once. For that, all samples share their weights: a style scales what goes in.
- Images of a batch are drawn one after the other.

Read ``stylegan3.py`` first: it says what is computed, this file only how.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.kernels import Workspace, give_back_memory
from zoo_stylegan.fast_stylegan2 import pack
from zoo_stylegan.layers import EPS, GAIN, SLOPE
from zoo_stylegan.stylegan3 import Synthesis, SynthesisLayer

PART_CHANNELS = 32
PART_ROWS = 32
"""Of a part that is filtered at once: rows of the result."""


class FastSynthesis(nn.Module):
    """Styles to images, as :class:`~zoo_stylegan.stylegan3.Synthesis`; float32, on a CPU.

    Args:
        synthesis: The network. It is taken over, layer by layer, so that no second copy of the weights is
            ever held: its own ``forward`` does not work any more.
    """

    def __init__(self, synthesis: Synthesis) -> None:
        super().__init__()
        self.input = synthesis.input
        self.output_scale = synthesis.config.output_scale
        size, workspace = synthesis.input.band.size, Workspace()
        self.layers = nn.ModuleList()
        for name in synthesis.names:
            layer = synthesis.get_submodule(name)
            assert isinstance(layer, SynthesisLayer)
            self.layers.append(FastLayer(layer, size, workspace))
            size = layer.size
        give_back_memory()

    def forward(self, ws: Tensor, transform: Tensor | None = None) -> Tensor:
        """Map styles (n, layers, w_dim), and a transform as ``Synthesis`` takes it, to images."""
        images = []
        for index in range(len(ws)):
            own = transform if transform is None or transform.ndim == 2 else transform[index]
            x = self.input(ws[index : index + 1, 0], own).contiguous(memory_format=torch.channels_last)
            for number, layer in enumerate(self.layers, start=1):
                x = layer(x, ws[index : index + 1, number])
            images.append(x * self.output_scale)
        return torch.cat(images)


class FastLayer(nn.Module):
    """A modulated convolution, then a leaky ReLU at a higher rate; or, to colours, the convolution alone."""

    def __init__(self, layer: SynthesisLayer, size: int, workspace: Workspace) -> None:
        super().__init__()
        self.map = workspace.map
        self.affine, self.bias, self.colours = layer.affine, layer.bias, layer.colours
        self.gain = layer.magnitude_ema.rsqrt()
        self.clamp = layer.clamp
        weight = layer.weight.detach()
        del layer.weight
        if self.colours:
            self.gain = self.gain / math.sqrt(weight[0].numel())
        else:
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
        self.energy = weight.square().sum((2, 3)).T.contiguous()  # (in, out)
        side = weight.shape[2]
        self.conv = pack(weight, (size, size), side - 1, workspace)
        self.down, self.down_filter = layer.down, layer.down_filter
        made = size + side - 1
        self.phases = (
            [] if layer.up_filter is None else phases(layer.up_filter * layer.up, layer.up, layer.pad[0])
        )
        self.dense = (
            made * layer.up + sum(layer.pad) + 1 - (0 if layer.up_filter is None else len(layer.up_filter))
        )
        self.size = layer.size

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (1, in, size, size), which it overwrites, to (1, out, new size, new size)."""
        style = self.affine(w)
        if self.colours:
            out: Tensor = self.conv(x.mul_((style * self.gain)[:, :, None, None]), self.bias)
            return out if self.clamp is None else out.clamp_(-self.clamp, self.clamp)
        style = style * style.square().mean(1, keepdim=True).rsqrt()
        x = x.mul_((style * self.gain)[:, :, None, None])
        factor = (style.square() @ self.energy + EPS).rsqrt()[0]  # (out,), of what the convolution makes
        return self._filtered(self.conv(x, self.bias / factor), factor * GAIN)

    def _filtered(self, x: Tensor, factor: Tensor) -> Tensor:
        """Filter (1, c, h, h) up, let a leaky ReLU at it, and filter it down; scaled by a factor (c,)."""
        c = x.shape[1]
        out = self.map("filtered", c, self.size, self.size)
        for first in range(0, c, PART_CHANNELS):
            channels = slice(first, min(first + PART_CHANNELS, c))
            for start in range(0, self.size, PART_ROWS):
                rows = slice(start, min(start + PART_ROWS, self.size))
                out[:, channels, rows] = self._part(x[:, channels], rows, factor[channels])
        return out

    def _part(self, x: Tensor, rows: slice, factor: Tensor) -> Tensor:
        """Some rows of the result for some channels of x (1, c, h, h)."""
        taps = 1 if self.down_filter is None else len(self.down_filter)
        dense = slice(rows.start * self.down, (rows.stop - 1) * self.down + taps)
        x = upsampled(x, self.phases, dense, factor, dim=2)
        x = upsampled(x, self.phases, slice(0, self.dense), torch.ones_like(factor), dim=3)
        x = F.leaky_relu_(x, SLOPE)
        if self.clamp is not None:
            x = x.clamp_(-self.clamp, self.clamp)
        return downsampled(x, self.down_filter, self.down)


@dataclass(frozen=True)
class Phase:
    """Every so-manieth value of an upsampled signal: a filter of the signal as it was."""

    taps: Tensor
    offset: int
    """The value of the signal that meets the first tap for the first such value."""


def phases(kernel: Tensor, factor: int, before: int) -> list[Phase]:
    """Split a filter for a signal with zeros between its values, and ``before`` of them in front, by phases.

    Value j of the result is Σ_t k_t z_{j+t−before}, and z is zero but at multiples of the factor.
    """
    found = []
    for phase in range(factor):
        first = (before - phase) % factor
        found.append(Phase(kernel[first::factor], (phase + first - before) // factor))
    return found


def upsampled(x: Tensor, phases: list[Phase], wanted: slice, factor: Tensor, dim: int) -> Tensor:
    """Return values ``wanted`` of the upsampled signal, along one axis.

    Args:
        x: (1, c, h, w).
        phases: Of the filter.
        wanted: Values at the new rate.
        factor: To scale channels by, (c,).
        dim: 2 for the height, 3 for the width.
    """
    count, c = len(phases), x.shape[1]
    first, last = wanted.start // count, -(-wanted.stop // count)  # values of each phase
    low = first + min(phase.offset for phase in phases)
    high = last - 1 + max(phase.offset + len(phase.taps) for phase in phases)
    x = _range(x, low, high, dim)
    shape = [1, c, x.shape[2], x.shape[3]]
    shape[dim] = (last - first) * count
    out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    for index, phase in enumerate(phases):
        taps = phase.taps * factor[:, None]
        seen = x.narrow(dim, first + phase.offset - low, last - first + len(phase.taps) - 1)
        out[(slice(None),) * dim + (slice(index, None, count),)] = _along(seen, taps, 1, dim)
    return out.narrow(dim, wanted.start - first * count, wanted.stop - wanted.start)


def downsampled(x: Tensor, kernel: Tensor | None, factor: int) -> Tensor:
    """Filter x (1, c, h, w) by (taps,) or (taps, taps), and keep every ``factor``-th value."""
    c = x.shape[1]
    if kernel is None:
        return x[..., ::factor, ::factor]
    if kernel.ndim == 2:
        return F.conv2d(x, kernel.expand(c, 1, -1, -1), stride=factor, groups=c)
    return _along(_along(x, kernel.expand(c, -1), factor, 3), kernel.expand(c, -1), factor, 2)


def _along(x: Tensor, taps: Tensor, stride: int, dim: int) -> Tensor:
    """Filter each channel of x (1, c, h, w) along one axis by (c, taps)."""
    if dim == 2:
        return F.conv2d(x, taps[:, None, :, None], stride=(stride, 1), groups=len(taps))
    return F.conv2d(x, taps[:, None, None, :], stride=(1, stride), groups=len(taps))


def _range(x: Tensor, low: int, high: int, dim: int) -> Tensor:
    """Values low to high of x (1, c, h, w) along one axis, zeros beyond its ends; in memory of its own."""
    size = x.shape[dim]
    inside = x.narrow(dim, max(low, 0), min(high, size) - max(low, 0))
    pad = (max(-low, 0), max(high - size, 0))
    inside = inside.contiguous(memory_format=torch.channels_last)
    if not any(pad):
        return inside
    return F.pad(inside, (0, 0, *pad) if dim == 2 else pad)
