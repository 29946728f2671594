"""GigaGAN's layers: convolutions whose kernels a style chooses and scales, and attention.

Kang et al. 2023, "Scaling up GANs for Text-to-Image Synthesis", arXiv:2303.05511, section 3.1. Tensors have
the names of the AuraSR checkpoints.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EPS = 1e-8
SLOPE = 0.2
"""Of the leaky ReLU below zero."""
STYLE_RATE = 0.1
"""How fast the style network learns beside the others; its stored weights are scaled by it."""


class EqualLinear(nn.Module):
    """A linear layer whose stored weights and biases are scaled when they are used."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in) to (n, out)."""
        return F.linear(x, self.weight * STYLE_RATE, self.bias * STYLE_RATE)


class StyleNetwork(nn.Module):
    """Noise to styles."""

    def __init__(self, into: int, out: int, depth: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for index in range(depth):
            layers += [EqualLinear(into if index == 0 else out, out), nn.LeakyReLU(SLOPE)]
        self.net = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Map (n, in) to (n, out)."""
        styles: Tensor = self.net(F.normalize(z, dim=1))
        return styles


class AdaptiveConv(nn.Module):
    """A 3×3 convolution by a mixture of kernels: arXiv:2303.05511, equations 2 and 3.

    Args:
        into: Channels read.
        out: Channels made.
        kernels: In the mixture.
        deviation: Of the weights to begin with, which decides how fast they learn; what is computed does not
            depend on it. By default one over the root of what is summed.
    """

    def __init__(self, into: int, out: int, kernels: int, deviation: float | None = None) -> None:
        super().__init__()
        deviation = 1 / math.sqrt(9 * into) if deviation is None else deviation
        self.weights = nn.Parameter(torch.randn(kernels, out, into, 3, 3) * deviation)

    def kernel(self, scale: Tensor, selection: Tensor) -> Tensor:
        """Return the kernel of each sample, (n, out, in, 3, 3).

        Args:
            scale: How much more than once inputs count, (n, in).
            selection: Logits of the kernels, (n, kernels).
        """
        chosen = torch.einsum("nk,koihw->noihw", selection.softmax(1), self.weights)
        chosen = chosen * (1 + scale[:, None, :, None, None])
        energy = chosen.square().sum((2, 3, 4), keepdim=True)
        return chosen * energy.clamp(min=EPS).rsqrt()

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w) by a kernel for each, (n, …), or one for all, (1, …)."""
        if len(kernel) == 1:
            return F.conv2d(x, kernel[0], padding=1)
        n, _, h, w = x.shape
        made = F.conv2d(x.reshape(1, -1, h, w), kernel.flatten(0, 1), padding=1, groups=n)
        return made.view(n, -1, h, w)


class Half(nn.Module):
    """A convolution and its activation."""

    def __init__(self, into: int, out: int, kernels: int) -> None:
        super().__init__()
        self.proj = AdaptiveConv(into, out, kernels)

    def forward(self, x: Tensor, kernel: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w)."""
        return F.silu(self.proj(x, kernel), inplace=True)


class ResnetBlock(nn.Module):
    """Two adaptive convolutions beside a shortcut."""

    def __init__(self, into: int, out: int, kernels: int) -> None:
        super().__init__()
        self.block1 = Half(into, out, kernels)
        self.block2 = Half(out, out, kernels)
        self.res_conv = nn.Conv2d(into, out, 1) if into != out else None

    @property
    def convolutions(self) -> tuple[AdaptiveConv, AdaptiveConv]:
        """Those that read a modulation, in order."""
        return self.block1.proj, self.block2.proj

    def forward(self, x: Tensor, first: Tensor, second: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w) by a kernel for each convolution."""
        made: Tensor = self.block2(self.block1(x, first), second)
        return made.add_(x if self.res_conv is None else self.res_conv(x))


class RMSNorm(nn.Module):
    """Scales the channels of each place to a root mean square of ``g``."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.g = nn.Parameter(torch.ones(1, channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        return F.normalize(x, dim=1) * (self.g * math.sqrt(x.shape[1]))


class Unused(nn.Module):
    """A parameter that checkpoints carry and nothing reads."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))


class Attention(nn.Module):
    """Self-attention over the places of a map."""

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
        made = F.scaled_dot_product_attention(*qkv.unbind(1))  # (n, heads, h·w, head_dim)
        out: Tensor = self.to_out(made.transpose(2, 3).reshape(n, -1, h, w))
        return out


class Transformer(nn.Module):
    """Attention and a feed-forward network in turn, each beside a shortcut."""

    def __init__(self, channels: int, heads: int, head_dim: int, depth: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Attention(channels, heads, head_dim), _feed_forward(channels)])
            for _ in range(depth)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        for layer in self.layers:
            assert isinstance(layer, nn.ModuleList)
            for part in layer:
                x = x + part(x)
        return x


def _feed_forward(channels: int) -> nn.Sequential:
    return nn.Sequential(
        RMSNorm(channels),
        nn.Conv2d(channels, 4 * channels, 1),
        nn.GELU(),
        nn.Conv2d(4 * channels, channels, 1),
    )
