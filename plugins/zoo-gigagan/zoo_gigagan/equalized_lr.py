"""Layers with an equalized learning rate: stored weights have unit variance and are scaled in use.

Adam then updates all of them at the same speed: Karras et al. 2018, arXiv:1710.10196, section 4.1.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

NEGATIVE_SLOPE = 0.2
GAIN = math.sqrt(2)


def leaky_relu(x: Tensor) -> Tensor:
    """Apply a leaky ReLU, with a gain that about keeps the variance of standard normal input."""
    return F.leaky_relu(x, NEGATIVE_SLOPE) * GAIN


class EqualizedLinear(nn.Module):
    """A linear layer that learns ``lr_multiplier`` times as fast as others; biases begin as ``bias``."""

    def __init__(
        self, in_features: int, out_features: int, lr_multiplier: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features) / lr_multiplier)
        self.bias = nn.Parameter(torch.full((out_features,), bias / lr_multiplier))
        self.lr_multiplier = lr_multiplier

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, in) to (…, out)."""
        gain = self.lr_multiplier / math.sqrt(x.shape[-1])
        return F.linear(x, self.weight * gain, self.bias * self.lr_multiplier)


class EqualizedConv(nn.Module):
    """A convolution whose odd kernel is padded, so that the sides stay the same, or halve with stride 2."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, bias: bool = True
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/stride, w/stride)."""
        weight = self.weight / math.sqrt(self.weight[0].numel())
        return F.conv2d(x, weight, self.bias, self.stride, self.weight.shape[2] // 2)
