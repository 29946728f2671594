"""StyleGAN3's synthesis network for fast inference on a CPU: the same images in less time.

- Upsampling is polyphase: for each phase, only some of the filter's taps meet a value instead of an inserted
  zero. They are a short filter of their own, and no zeros are inserted.
- Upsampling, leaky ReLU and downsampling are applied to a part of the map, some rows of some channels, that
  stays in the processor's cache: the whole map never exists at the higher sampling rate.
- Filters act on one axis at a time, on channels-last maps; demodulation is a factor of the first filter.
- Convolutions are packed once. For that, all samples share the weights: the style modulates the input.
- Images of a batch are computed one after another.

Read ``networks/stylegan3.py`` first: it says what is computed; this file says only how.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.kernels import Workspace, give_back_memory
from zoo_stylegan.inference.stylegan2 import choose_conv
from zoo_stylegan.networks.filters import downsample
from zoo_stylegan.networks.layers import EPS, GAIN, SLOPE
from zoo_stylegan.networks.stylegan3 import SynthesisLayer, SynthesisNetwork

PART_CHANNELS = 32
PART_ROWS = 32
"""Channels and output rows of a part that is filtered at once."""


class FastSynthesis(nn.Module):
    """Maps styles to images as the synthesis network does; float32, on a CPU.

    The network's weights are taken over one layer at a time, so that there is never a second copy of all: its
    own ``forward`` fails afterwards.
    """

    def __init__(self, synthesis: SynthesisNetwork) -> None:
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
        """Map styles (n, layers, w_dim) and a transform, as the network does, to images (n, c, h, w)."""
        images = []
        for index in range(len(ws)):
            own = transform if transform is None or transform.ndim == 2 else transform[index]
            x = self.input(ws[index : index + 1, 0], own).contiguous(memory_format=torch.channels_last)
            for number, layer in enumerate(self.layers, start=1):
                x = layer(x, ws[index : index + 1, number])
            images.append(x * self.output_scale)
        return torch.cat(images)


class FastLayer(nn.Module):
    """A modulated convolution and a leaky ReLU at a higher sampling rate; ToRGB is the convolution alone."""

    def __init__(self, layer: SynthesisLayer, size: int, workspace: Workspace) -> None:
        super().__init__()
        self.map = workspace.map
        self.affine, self.bias, self.is_torgb = layer.affine, layer.bias, layer.is_torgb
        self.gain = layer.magnitude_ema.rsqrt()
        self.clamp = layer.clamp
        weight = layer.weight.detach()
        del layer.weight
        if self.is_torgb:
            self.gain = self.gain / math.sqrt(weight[0].numel())
        else:
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
        self.energy = weight.square().sum((2, 3)).T.contiguous()  # (in, out)
        side = weight.shape[2]
        self.conv = choose_conv(weight, (size, size), side - 1, workspace)
        self.down, self.down_filter = layer.down, layer.down_filter
        self.phases: list[Phase] = []
        up_taps = 0
        if layer.up_filter is not None:
            self.phases = polyphase(layer.up_filter * layer.up, layer.up, layer.pad[0])
            up_taps = len(layer.up_filter)
        self.upsampled_size = (size + side - 1) * layer.up + sum(layer.pad) + 1 - up_taps
        self.size = layer.size

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (1, in, size, size), which it overwrites, to (1, out, new size, new size)."""
        style = self.affine(w)
        if self.is_torgb:
            out: Tensor = self.conv(x.mul_((style * self.gain)[:, :, None, None]), self.bias)
            return out if self.clamp is None else out.clamp_(-self.clamp, self.clamp)
        style = style * style.square().mean(1, keepdim=True).rsqrt()
        x = x.mul_((style * self.gain)[:, :, None, None])
        demodulation = (style.square() @ self.energy + EPS).rsqrt()[0]  # (out,), applied in upsampling
        return self._filtered_leaky_relu(self.conv(x, self.bias / demodulation), demodulation * GAIN)

    def _filtered_leaky_relu(self, x: Tensor, gain: Tensor) -> Tensor:
        """Scale channels of x (1, c, h, h) by a gain (c,), upsample, apply a leaky ReLU, and downsample."""
        c = x.shape[1]
        out = self.map("filtered", c, self.size, self.size)
        for first in range(0, c, PART_CHANNELS):
            channels = slice(first, min(first + PART_CHANNELS, c))
            for start in range(0, self.size, PART_ROWS):
                rows = slice(start, min(start + PART_ROWS, self.size))
                out[:, channels, rows] = self._part(x[:, channels], rows, gain[channels])
        return out

    def _part(self, x: Tensor, rows: slice, gain: Tensor) -> Tensor:
        """Return some output rows for some channels x (1, c, h, h)."""
        taps = 1 if self.down_filter is None else len(self.down_filter)
        upsampled_rows = slice(rows.start * self.down, (rows.stop - 1) * self.down + taps)
        x = upsample_axis(x, self.phases, upsampled_rows, gain, dim=2)
        x = upsample_axis(x, self.phases, slice(0, self.upsampled_size), torch.ones_like(gain), dim=3)
        x = F.leaky_relu_(x, SLOPE)
        if self.clamp is not None:
            x = x.clamp_(-self.clamp, self.clamp)
        return downsample(x, self.down_filter, self.down)


@dataclass(frozen=True)
class Phase:
    """A filter of the original signal that gives every n-th value of the upsampled one."""

    taps: Tensor
    offset: int
    """Index of the value that the first tap meets, for the first output of this phase."""


def polyphase(kernel: Tensor, factor: int, pad: int) -> list[Phase]:
    """Split an upsampling filter into its phases, one for each output position modulo ``factor``.

    Output j is Σ_t k_t z_{j+t−pad}, where z is the signal with zeros inserted: zero except at multiples of
    the factor.
    """
    found = []
    for phase in range(factor):
        first = (pad - phase) % factor
        found.append(Phase(kernel[first::factor], (phase + first - pad) // factor))
    return found


def upsample_axis(x: Tensor, phases: list[Phase], span: slice, gain: Tensor, dim: int) -> Tensor:
    """Return a span, at the new sampling rate, of x (1, c, h, w) upsampled along an axis, times (c,)."""
    count, c = len(phases), x.shape[1]
    first, last = span.start // count, -(-span.stop // count)  # outputs of each phase
    low = first + min(phase.offset for phase in phases)
    high = last - 1 + max(phase.offset + len(phase.taps) for phase in phases)
    x = _padded_span(x, low, high, dim)
    shape = [1, c, x.shape[2], x.shape[3]]
    shape[dim] = (last - first) * count
    out = torch.empty(shape, dtype=x.dtype, memory_format=torch.channels_last)
    for index, phase in enumerate(phases):
        taps = phase.taps * gain[:, None]
        inputs = x.narrow(dim, first + phase.offset - low, last - first + len(phase.taps) - 1)
        out[(slice(None),) * dim + (slice(index, None, count),)] = _filter_axis(inputs, taps, dim)
    return out.narrow(dim, span.start - first * count, span.stop - span.start)


def _filter_axis(x: Tensor, taps: Tensor, dim: int) -> Tensor:
    """Filter each channel of x (1, c, h, w) along one axis by (c, taps)."""
    weight = taps[:, None, :, None] if dim == 2 else taps[:, None, None, :]
    return F.conv2d(x, weight, groups=len(taps))


def _padded_span(x: Tensor, low: int, high: int, dim: int) -> Tensor:
    """Return values low to high of x (1, c, h, w) along one axis, contiguous, with zeros beyond its ends."""
    size = x.shape[dim]
    inside = x.narrow(dim, max(low, 0), min(high, size) - max(low, 0))
    pad = (max(-low, 0), max(high - size, 0))
    inside = inside.contiguous(memory_format=torch.channels_last)
    if not any(pad):
        return inside
    return F.pad(inside, (0, 0, *pad) if dim == 2 else pad)
