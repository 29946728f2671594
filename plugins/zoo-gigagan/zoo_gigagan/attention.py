"""Self-attention of the generator and the discriminator: Kang et al. 2023, arXiv:2303.05511, equation 5."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gigagan.equalized_lr import EqualizedConv


class SelfAttention(nn.Module):
    """L2-distance attention among the positions of a feature map, with one projection for queries and keys.

    Unlike dot products, negative squared distances keep the layer Lipschitz continuous: Kim et al. 2021,
    arXiv:2006.04710, section 3. ``channels`` is a multiple of ``heads``.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.to_qk = EqualizedConv(channels, channels, 1, bias=False)
        self.to_v = EqualizedConv(channels, channels, 1, bias=False)
        self.to_out = EqualizedConv(channels, channels, 1)
        self.gain = nn.Parameter(torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        """Add attention to a feature map (n, c, h, w)."""
        n, c, h, w = x.shape
        q = self.to_qk(rms_norm(x)).reshape(n, self.heads, -1, h * w)
        v = self.to_v(rms_norm(x)).reshape(n, self.heads, -1, h * w)
        # −‖qᵢ − kⱼ‖² without −‖qᵢ‖², which the softmax over j cancels.
        logits = (2 * q.transpose(2, 3) @ q - q.square().sum(2, keepdim=True)) / math.sqrt(q.shape[2])
        attended = v @ logits.softmax(3).transpose(2, 3)
        y: Tensor = x + self.to_out(attended.reshape(n, c, h, w)) * self.gain
        return y


def rms_norm(x: Tensor) -> Tensor:
    """Scale the channels of each position of x (n, c, …) to a root mean square of 1."""
    return F.normalize(x, dim=1) * math.sqrt(x.shape[1])
