"""The noisy classifiers of guided-diffusion: p(y | x_t), half a U-Net with one vector at its end.

Dhariwal & Nichol 2021, "Diffusion models beat GANs on image synthesis" (arXiv:2105.05233), section 4.1: the
way down of the U-Net and its middle, then attention of the mean over all positions to these.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_ddpm.unet import Encoder
from zoo_ddpm.unet_config import UNetConfig

CLASS_NAME = "NoisyClassifier"


class AttentionPool(nn.Module):
    """Attention of the mean over all positions to these and itself."""

    def __init__(self, c: int, positions: int, head_dim: int, classes: int) -> None:
        super().__init__()
        self.positional_embedding = nn.Parameter(torch.zeros(c, positions + 1))
        self.qkv_proj = nn.Conv1d(c, 3 * c, 1)
        self.c_proj = nn.Conv1d(c, classes, 1)
        self.head_dim = head_dim

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, classes)."""
        x = x.flatten(2)  # (n, c, h·w)
        x = torch.cat([x.mean(dim=2, keepdim=True), x], dim=2) + self.positional_embedding
        q, k, v = (
            part.unflatten(1, (-1, self.head_dim)).mT  # (n, heads, 1 + h·w, head_dim)
            for part in self.qkv_proj(x).chunk(3, dim=1)
        )
        h = F.scaled_dot_product_attention(q[:, :, :1], k, v)  # (n, heads, 1, head_dim)
        out: Tensor = self.c_proj(h.mT.flatten(1, 2))[:, :, 0]
        return out


class NoisyClassifier(Encoder):
    """The classifier; names are those of ``UNet``, and guided-diffusion's for what comes after the middle."""

    def __init__(self, config: UNetConfig) -> None:
        """``config`` is that of a U-Net with this way down; ``out_channels`` is the number of classes."""
        super().__init__(replace(config, num_class_embeds=None))
        c, levels = config.block_out_channels[-1], len(config.block_out_channels)
        height, width = (side // 2 ** (levels - 1) for side in config.image_size)
        self.conv_norm_out = nn.GroupNorm(config.groups(c), c, config.norm_eps)
        self.conv_out = AttentionPool(c, height * width, config.head_dim(c), config.out_channels)

    def forward(self, x: Tensor, t: Tensor | float) -> Tensor:
        """Return the logits of each class, (n, classes), of noisy images x (n, c, h, w) at timesteps t."""
        t = torch.as_tensor(t, device=x.device).reshape(-1)
        x, _ = self.encode(x, F.silu(self.embed(t)))
        logits: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return logits
