"""The norms."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gpt.network.config import TransformerConfig


class OffsetRMSNorm(nn.RMSNorm):
    """RMSNorm whose stored weight is its factor minus 1, as in Gemma."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension, in float32: half precision would round the sum."""
        normalised = F.rms_norm(x.float(), self.normalized_shape, 1 + self.weight.float(), self.eps)
        return normalised.to(x.dtype)


class HeadNorms(nn.ModuleList):
    """A LayerNorm without bias for each head, as in StableLM 2 12B."""

    def __init__(self, config: TransformerConfig, heads: int) -> None:
        super().__init__(nn.LayerNorm(config.head_dim, config.norm_eps, bias=False) for _ in range(heads))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension of (n, heads, t, head_dim)."""
        return torch.cat(
            [norm(head) for norm, head in zip(self, torch.split(x, 1, dim=1), strict=True)], dim=1
        )


def norm(config: TransformerConfig, width: int) -> nn.Module:
    """Return the norm of ``width`` channels that the config asks for."""
    if not config.rms_norm:
        return nn.LayerNorm(width, eps=config.norm_eps)
    return (OffsetRMSNorm if config.norm_offset else nn.RMSNorm)(width, eps=config.norm_eps)
