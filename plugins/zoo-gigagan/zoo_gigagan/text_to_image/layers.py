"""The generator's layers: Kang et al. 2023, arXiv:2303.05511, sections 3.1 to 3.3."""

from __future__ import annotations

import itertools

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gigagan.adaptive_conv import AdaptiveConv
from zoo_gigagan.attention import rms_norm
from zoo_gigagan.equalized_lr import EqualizedConv, EqualizedLinear, leaky_relu
from zoo_gigagan.text_to_image.text import TextEmbedding

MAPPING_LR_MULTIPLIER = 0.01
"""Learning rate of the mapping network relative to the rest: Karras et al. 2019, arXiv:1812.04948, app. C."""


class StyleMapping(nn.Module):
    """The mapping network, from noise and t_global to styles: equation 4."""

    def __init__(self, z_dim: int, text_width: int, w_dim: int, depth: int) -> None:
        super().__init__()
        self.embed = EqualizedLinear(text_width, w_dim)
        self.layers = nn.ModuleList(
            EqualizedLinear(before, after, MAPPING_LR_MULTIPLIER)
            for before, after in itertools.pairwise([z_dim + w_dim, *[w_dim] * depth])
        )

    def forward(self, z: Tensor, t_global: Tensor) -> Tensor:
        """Map z (n, z_dim) and t_global (n, width) to w (n, w_dim)."""
        x = torch.cat([normalize_2nd_moment(z), normalize_2nd_moment(self.embed(t_global))], 1)
        for layer in self.layers:
            x = leaky_relu(layer(x))
        return x


def normalize_2nd_moment(x: Tensor) -> Tensor:
    """Scale each row of x (n, c) to a mean square of 1."""
    return x * (x.square().mean(1, keepdim=True) + 1e-8).rsqrt()


class AdaptiveLayer(nn.Module):
    """An adaptive convolution controlled by the style (equations 2 and 3), noise, bias and activation."""

    def __init__(self, in_channels: int, out_channels: int, w_dim: int, kernels: int) -> None:
        super().__init__()
        self.scale = EqualizedLinear(w_dim, in_channels)
        self.select = EqualizedLinear(w_dim, kernels)
        self.conv = AdaptiveConv(in_channels, out_channels, kernels, init_std=1.0)
        self.noise = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(out_channels))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Map x (n, in, h, w) to (n, out, h, w) by w (n, w_dim) and noise (n, 1, h, w)."""
        y = self.conv(x, self.conv.kernel(self.scale(style), self.select(style)))
        return leaky_relu(y + noise * self.noise + self.bias[:, None, None])


class CrossAttention(nn.Module):
    """Attention from the positions of a feature map to the words; ``channels`` is a multiple of ``heads``."""

    def __init__(self, channels: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = EqualizedConv(channels, channels, 1, bias=False)
        self.to_kv = EqualizedLinear(text_width, 2 * channels)
        self.to_out = EqualizedConv(channels, channels, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, text: TextEmbedding) -> Tensor:
        """Add attention to a feature map (n, c, h, w)."""
        n, c, h, w = x.shape
        q = self.to_q(rms_norm(x)).reshape(n, self.heads, -1, h * w).transpose(2, 3)
        kv = self.to_kv(text.t_local).view(n, text.t_local.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, text.bias[:, None, None])
        y: Tensor = x + self.to_out(attended.transpose(2, 3).reshape(n, c, h, w)) * self.gain
        return y
