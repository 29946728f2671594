"""The upsampler's layers: style network, residual blocks of adaptive convolutions, attention.

Kang et al. 2023, "Scaling up GANs for Text-to-Image Synthesis", arXiv:2303.05511, section 3.1. Tensors have
the names of the AuraSR checkpoints.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gigagan.adaptive_conv import AdaptiveConv
from zoo_gigagan.equalized_lr import NEGATIVE_SLOPE

STYLE_LR_MULTIPLIER = 0.1
"""Learning rate of the style network relative to the rest; its stored weights are scaled by it in use."""


class EqualLinear(nn.Module):
    """A linear layer whose stored weights and biases are scaled in use."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_features, in_features))
        self.bias = nn.Parameter(torch.zeros(out_features))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in) to (n, out)."""
        return F.linear(x, self.weight * STYLE_LR_MULTIPLIER, self.bias * STYLE_LR_MULTIPLIER)


class StyleNetwork(nn.Module):
    """The mapping network, from noise to styles."""

    def __init__(self, dim_in: int, dim_out: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for width in (dim_in, *[dim_out] * (depth - 1)):
            layers += [EqualLinear(width, dim_out), nn.LeakyReLU(NEGATIVE_SLOPE)]
        self.net = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, dim_in) to (n, dim_out)."""
        styles: Tensor = self.net(F.normalize(z, dim=1))
        return styles


class Block(nn.Module):
    """An adaptive convolution and its activation."""

    def __init__(self, in_channels: int, out_channels: int, kernels: int) -> None:
        super().__init__()
        self.proj = AdaptiveConv(in_channels, out_channels, kernels)

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w)."""
        return F.silu(self.proj(x, kernel), inplace=True)


class ResnetBlock(nn.Module):
    """Two adaptive convolutions with a residual connection."""

    def __init__(self, in_channels: int, out_channels: int, kernels: int) -> None:
        super().__init__()
        self.block1 = Block(in_channels, out_channels, kernels)
        self.block2 = Block(out_channels, out_channels, kernels)
        self.res_conv = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    @property
    def convolutions(self) -> tuple[AdaptiveConv, AdaptiveConv]:
        """The adaptive convolutions, in order."""
        return self.block1.proj, self.block2.proj

    def forward(self, x: Tensor, kernel1: Tensor, kernel2: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w) with a kernel for each convolution."""
        y: Tensor = self.block2(self.block1(x, kernel1), kernel2)
        return y.add_(x if self.res_conv is None else self.res_conv(x))


class RMSNorm(nn.Module):
    """Scale the channels of each position to a root mean square of ``g``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        return F.normalize(x, dim=1) * (self.g * math.sqrt(x.shape[1]))


class Unused(nn.Module):
    """A parameter of the checkpoints that the network does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class Attention(nn.Module):
    """Dot-product self-attention among the positions of a feature map."""

    def __init__(self, channels: int, heads: int, head_dim: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = RMSNorm(channels)
        self.attend = Unused()
        self.to_qkv = nn.Conv2d(channels, 3 * heads * head_dim, 1, bias=False)
        self.to_out = nn.Conv2d(heads * head_dim, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        n, _, h, w = x.shape
        qkv = self.to_qkv(self.norm(x)).reshape(n, 3, self.heads, -1, h * w).transpose(3, 4)
        attended = F.scaled_dot_product_attention(*qkv.unbind(1))  # (n, heads, h·w, head_dim)
        y: Tensor = self.to_out(attended.transpose(2, 3).reshape(n, -1, h, w))
        return y


class Transformer(nn.Module):
    """Layers of attention and a feed-forward network, each with a residual connection."""

    def __init__(self, channels: int, heads: int, head_dim: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList()
        for _ in range(depth):
            attention = Attention(channels, heads, head_dim)
            widen, narrow = nn.Conv2d(channels, 4 * channels, 1), nn.Conv2d(4 * channels, channels, 1)
            feed_forward = nn.Sequential(RMSNorm(channels), widen, nn.GELU(), narrow)
            self.layers.append(nn.ModuleList([attention, feed_forward]))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            for part in layer:
                x = x + part(x)
        return x
