"""Low-pass filters, upsampling and downsampling: arXiv:2106.12423, sections 3.2 and C.1."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

MAX_TAPS = 512
"""Limit of a filter's length; the longest published has 48 taps."""


def design_lowpass(
    taps: int, cutoff: float, width: float, rate: float, *, radial: bool = False
) -> Tensor | None:
    """Return a Kaiser-windowed low-pass filter of gain 1, (taps,), or (taps, taps) if radial; None for 1 tap.

    The sampling rate has the unit of the cutoff frequency and of the transition band, whose width determines
    the window's β (Kaiser 1974). Radial filters respond alike in all directions, by the jinc function.
    """
    if taps == 1:
        return None
    if taps > MAX_TAPS:
        raise ValueError(f"filter_size or upsampling asks for a filter of {taps} taps; at most {MAX_TAPS}")
    attenuation = 2.285 * (taps - 1) * math.pi * width / (rate / 2) + 7.95
    window = np.kaiser(taps, _kaiser_beta(attenuation))
    at = np.arange(taps) - (taps - 1) / 2
    if radial:
        r = torch.from_numpy(np.hypot(*np.meshgrid(at, at)) / rate)
        jinc = torch.special.bessel_j1(2 * cutoff * math.pi * r) / (math.pi * r)
        kernel = jinc * torch.from_numpy(np.outer(window, window))
    else:
        kernel = torch.from_numpy(np.sinc(2 * cutoff / rate * at) * window)
    normalised: Tensor = kernel / kernel.sum()
    return normalised.float()


def _kaiser_beta(attenuation: float) -> float:
    """Return β for an attenuation in dB: Oppenheim & Schafer, "Discrete-Time Signal Processing", eq. 7.75."""
    if attenuation > 50:
        return 0.1102 * (attenuation - 8.7)
    if attenuation > 21:
        return 0.5842 * math.pow(attenuation - 21, 0.4) + 0.07886 * (attenuation - 21)
    return 0.0


def upsample(x: Tensor, kernel: Tensor | None, factor: int, pad: tuple[int, int]) -> Tensor:
    """Upsample square x (n, c, h, w): insert zeros, pad, and filter both axes; the mean stays the same.

    ``pad`` is the number of zeros before and after each axis, at the new rate; negative values crop.
    """
    n, c, h, w = x.shape
    if kernel is not None and prefers_matmul(x):
        size = h * factor + sum(pad) - len(kernel) + 1
        matrix = _filter_matrix(kernel.to(x) * factor, (size, h), up=factor, pad=pad[0])
        return matrix @ x @ matrix.T
    if factor > 1:
        x = F.pad(x[..., None, :, None], (0, factor - 1, 0, 0, 0, factor - 1)).reshape(
            n, c, h * factor, w * factor
        )
    x = F.pad(x, (*pad, *pad))
    return x if kernel is None else _filter(x, kernel * factor)


def downsample(x: Tensor, kernel: Tensor | None, factor: int) -> Tensor:
    """Filter x (n, c, h, w) by (taps,) or (taps, taps) and keep every ``factor``-th value.

    x must be square where :func:`prefers_matmul` is True.
    """
    if kernel is None:
        return x[..., ::factor, ::factor]
    if kernel.ndim == 1 and prefers_matmul(x):
        size = (x.shape[2] - len(kernel)) // factor + 1
        matrix = _filter_matrix(kernel.to(x), (size, x.shape[2]), down=factor)
        return matrix @ x @ matrix.T
    return _filter(x, kernel, factor)


def prefers_matmul(x: Tensor) -> bool:
    """Return True where matrix products filter faster than depthwise convolutions.

    That is so where multiplications are cheap relative to passes over memory: on a GPU, and in half
    precision on a CPU.
    """
    return x.device.type != "cpu" or x.dtype.itemsize == 2


def _filter_matrix(
    kernel: Tensor, shape: tuple[int, int], up: int = 1, down: int = 1, pad: int = 0
) -> Tensor:
    """Return upsampling, ``pad`` zeros in front, a filter and downsampling of one axis as one matrix."""
    rows, columns = (torch.arange(size, device=kernel.device) for size in shape)
    tap = columns * up - rows[:, None] * down + pad
    return kernel[tap.clamp(0, len(kernel) - 1)] * ((tap >= 0) & (tap < len(kernel)))


def _filter(x: Tensor, kernel: Tensor, stride: int = 1) -> Tensor:
    """Convolve each channel. Kernels are symmetric, so convolution and correlation are the same."""
    c = x.shape[1]
    kernel = kernel.to(x)
    if kernel.ndim == 2:
        return F.conv2d(x, kernel.expand(c, 1, -1, -1), stride=stride, groups=c)
    x = F.conv2d(x, kernel[None, :].expand(c, 1, 1, -1), stride=(1, stride), groups=c)
    return F.conv2d(x, kernel[:, None].expand(c, 1, -1, 1), stride=(stride, 1), groups=c)
