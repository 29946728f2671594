"""Attention over the places of a feature map: to each other, and to the words of the prompt.

Kang et al. 2023, arXiv:2303.05511, section 3.3, equation 5.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gigagan.equalized import EqualizedConv, EqualizedLinear
from zoo_gigagan.text import Text


class SelfAttention(nn.Module):
    """Attention whose logits are negative squared distances, with one projection for queries and keys.

    Unlike dot products, these keep the layer Lipschitz: Kim et al. 2021, arXiv:2006.04710, section 3.

    Args:
        channels: Of the map.
        heads: They share the channels out.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qk = EqualizedConv(channels, channels, 1, bias=False)
        self.to_v = EqualizedConv(channels, channels, 1, bias=False)
        self.to_out = EqualizedConv(channels, channels, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape, beside a shortcut."""
        n, c, h, w = x.shape
        q = self.to_qk(_normalized(x)).reshape(n, self.heads, -1, h * w)
        v = self.to_v(_normalized(x)).reshape(n, self.heads, -1, h * w)
        # −‖qᵢ − kⱼ‖² without −‖qᵢ‖², which softmax over j does not see.
        logits = (2 * q.transpose(2, 3) @ q - q.square().sum(2, keepdim=True)) / math.sqrt(q.shape[2])
        seen = v @ logits.softmax(3).transpose(2, 3)
        made: Tensor = x + self.to_out(seen.reshape(n, c, h, w)) * self.gain
        return made


class CrossAttention(nn.Module):
    """Attention of places to words.

    Args:
        channels: Of the map.
        heads: They share the channels out.
        text_width: Of the words' descriptors.
    """

    def __init__(self, channels: int, heads: int, text_width: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_q = EqualizedConv(channels, channels, 1, bias=False)
        self.to_kv = EqualizedLinear(text_width, 2 * channels)
        self.to_out = EqualizedConv(channels, channels, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor, text: Text) -> Tensor:
        """Map (n, c, h, w) to the same shape, beside a shortcut."""
        n, c, h, w = x.shape
        q = self.to_q(_normalized(x)).reshape(n, self.heads, -1, h * w).transpose(2, 3)
        kv = self.to_kv(text.words).view(n, text.words.shape[1], 2, self.heads, -1)
        k, v = kv.permute(2, 0, 3, 1, 4)
        seen = F.scaled_dot_product_attention(q, k, v, text.bias[:, None, None])
        made: Tensor = x + self.to_out(seen.transpose(2, 3).reshape(n, c, h, w)) * self.gain
        return made


def _normalized(x: Tensor) -> Tensor:
    """Scale the channels of each place to a root mean square of 1."""
    return F.normalize(x, dim=1) * math.sqrt(x.shape[1])
