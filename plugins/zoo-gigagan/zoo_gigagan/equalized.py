"""Layers whose stored weights have unit variance and are scaled when they are used.

Adam then moves all of them at one speed: Karras et al. 2018, arXiv:1710.10196, section 4.1.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.2
GAIN = math.sqrt(2)


def leaky_relu(x: Tensor) -> Tensor:
    """Apply a leaky ReLU that keeps the variance of normal numbers."""
    return F.leaky_relu(x, SLOPE) * GAIN


class EqualizedLinear(nn.Module):
    """A linear layer.

    Args:
        into: Numbers read.
        out: Numbers made.
        rate: How fast it learns beside other layers.
        bias: What the bias begins as.
    """

    def __init__(self, into: int, out: int, rate: float = 1.0, bias: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into) / rate)
        self.bias = nn.Parameter(torch.full((out,), bias / rate))
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out)."""
        return F.linear(x, self.weight * (self.rate / math.sqrt(x.shape[-1])), self.bias * self.rate)


class EqualizedConv(nn.Module):
    """A convolution that keeps the sides of an image, or with ``stride`` 2 halves them.

    Args:
        into: Channels read.
        out: Channels made.
        size: Side of the kernel, which is odd.
        stride: 1 or 2.
        bias: Whether it has one.
    """

    def __init__(self, into: int, out: int, size: int, stride: int = 1, bias: bool = True) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into, size, size))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w), or half as large."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        return F.conv2d(x, weight, self.bias, self.stride, self.weight.shape[2] // 2)
