"""The norms."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gpt.network.config import TransformerConfig


class OffsetRMSNorm(nn.RMSNorm):
    """RMSNorm whose stored weight is its factor minus 1, as in Gemma."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise the last dimension, in float32: half precision would round the sum."""
        normalised = F.rms_norm(x.float(), self.normalized_shape, 1 + self.weight.float(), self.eps)
        return normalised.to(x.dtype)


def norm(config: TransformerConfig, width: int) -> nn.Module:
    """Return the norm of ``width`` channels that the config asks for."""
    if not config.rms_norm:
        return nn.LayerNorm(width, eps=config.norm_eps)
    return (OffsetRMSNorm if config.norm_offset else nn.RMSNorm)(width, eps=config.norm_eps)
