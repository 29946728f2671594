"""The parts of the U-Net, from the smallest to a level.

In shape comments n is the batch, c channels, h × w the image, e the width of the time embedding.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_ddpm.unet_config import UNetConfig


def sinusoidal_embedding(t: Tensor, config: UNetConfig) -> Tensor:
    """Embed timesteps t (n,) as sines and cosines at geometrically spaced frequencies: (n, c) float32.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.5. Angles are taken in float32 whatever the network's
    dtype: near t = 1000 a bfloat16 angle would be off by whole radians.
    """
    half = (config.time_channels or config.block_out_channels[0]) // 2
    i = torch.arange(half, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(-math.log(10000) * i / (half - config.freq_shift))
    angles = t.float()[:, None] * frequencies  # (n, c/2)
    waves = [angles.cos(), angles.sin()] if config.flip_sin_to_cos else [angles.sin(), angles.cos()]
    return torch.cat(waves, dim=1)


class TimeMLP(nn.Module):
    """Two linear layers that turn the sinusoidal embedding into the time embedding."""

    def __init__(self, c: int, e: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(c, e)
        self.linear_2 = nn.Linear(e, e)

    def forward(self, waves: Tensor) -> Tensor:
        """Map (n, c) to (n, e)."""
        emb: Tensor = self.linear_2(F.silu(self.linear_1(waves)))
        return emb


Resample = Callable[[Tensor], Tensor]
"""Changes the size of (n, c, h, w) by two."""


def average(x: Tensor) -> Tensor:
    """Halve height and width: the mean of each square of four pixels."""
    return F.avg_pool2d(x, 2)


def repeat(x: Tensor) -> Tensor:
    """Double height and width by repeating pixels."""
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


class ResnetBlock(nn.Module):
    """Twice norm, SiLU, 3×3 convolution, beside a shortcut; the time embedding enters half-way.

    Args:
        c_in: Channels of the input.
        c_out: Channels of the output.
        config: The network's options.
        scale: The sum with the shortcut is divided by it.
        groups: Groups of the two norms; None: the config's.
        resample: Changes the size after the first SiLU, and of the shortcut.
        project: Whether the shortcut has a convolution even if the channels stay the same.
    """

    def __init__(
        self,
        c_in: int,
        c_out: int,
        config: UNetConfig,
        scale: float = 1.0,
        *,
        groups: tuple[int, int] | None = None,
        resample: Resample | None = None,
        project: bool = False,
    ) -> None:
        super().__init__()
        groups = groups or (config.groups(c_in), config.groups(c_out))
        self.scale_shift = config.resnet_time_scale_shift == "scale_shift"
        self.norm1 = nn.GroupNorm(groups[0], c_in, config.norm_eps)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(config.embedding_width, (1 + self.scale_shift) * c_out)
        self.norm2 = nn.GroupNorm(groups[1], c_out, config.norm_eps)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(c_in, c_out, 1) if project or c_in != c_out else None
        self.dropout = config.dropout
        self.scale = scale
        self.resample = resample

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map x (n, c_in, h, w) and emb (n or 1, e), a SiLU of the time embedding, to (n, c_out, h', w')."""
        h = F.silu(self.norm1(x))
        if self.resample is not None:
            h, x = self.resample(h), self.resample(x)
        h = self.conv1(h)  # (n, c_out, h', w')
        time = self.time_emb_proj(emb)[:, :, None, None]
        if self.scale_shift:
            gain, shift = time.chunk(2, dim=1)
            h = self.norm2(h) * (1 + gain) + shift
        else:
            h = self.norm2(h + time)
        h = F.dropout(F.silu(h), self.dropout, self.training)
        h = self.conv2(h)
        shortcut = x if self.conv_shortcut is None else self.conv_shortcut(x)
        out: Tensor = (shortcut + h) / self.scale
        return out


class Attention(nn.Module):
    """Self-attention over the h·w positions of the image, beside a shortcut."""

    def __init__(self, c: int, config: UNetConfig, scale: float = 1.0, *, groups: int | None = None) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(groups or config.groups(c), c, config.norm_eps)
        self.to_q = nn.Linear(c, c)
        self.to_k = nn.Linear(c, c)
        self.to_v = nn.Linear(c, c)
        self.to_out = nn.ModuleList([nn.Linear(c, c)])
        self.head_dim = config.head_dim(c)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)  # (n, h·w, c)
        q, k, v = (
            project(tokens).unflatten(2, (-1, self.head_dim)).transpose(1, 2)  # (n, heads, h·w, head_dim)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (n, h·w, c)
        out: Tensor = self.to_out[0](h).transpose(1, 2).unflatten(2, x.shape[2:])  # (n, c, h, w)
        return (x + out) / self.scale


class Downsample(nn.Module):
    """Halve height and width by a stride-2 convolution."""

    def __init__(self, c: int, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=2, padding=padding)

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        """Map (n, c, h, w) to (n, c, h/2, w/2); the time embedding has no part in it."""
        if self.conv.padding == (0, 0):
            x = F.pad(x, (0, 1, 0, 1))
        half: Tensor = self.conv(x)
        return half


class Upsample(nn.Module):
    """Double height and width by repeating pixels, then a convolution."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        """Map (n, c, h, w) to (n, c, 2h, 2w); the time embedding has no part in it."""
        double: Tensor = self.conv(repeat(x))
        return double


class DownBlock(nn.Module):
    """One level on the way down: residual blocks, each with attention if the level has it, then half size."""

    def __init__(self, c_in: int, c_out: int, config: UNetConfig, kind: str, last: bool) -> None:
        super().__init__()
        attention = kind.startswith("Attn")
        in_resnet = kind.startswith("Resnet") or (attention and config.downsample_type == "resnet")
        widths = [c_in] + [c_out] * (config.layers_per_block - 1)
        self.resnets = nn.ModuleList(ResnetBlock(c, c_out, config) for c in widths)
        self.attentions = nn.ModuleList(Attention(c_out, config) for _ in widths if attention)
        self.downsamplers = nn.ModuleList()
        if not last:
            self.downsamplers.append(
                ResnetBlock(c_out, c_out, config, resample=average)
                if in_resnet
                else Downsample(c_out, config.downsample_padding)
            )

    def forward(self, x: Tensor, emb: Tensor) -> list[Tensor]:
        """Return every feature map made on the way, for the way up; the last one goes on down."""
        skips = []
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, emb)
            if self.attentions:
                x = self.attentions[i](x)
            skips.append(x)
        for downsample in self.downsamplers:
            skips.append(downsample(x, emb))
        return skips


class MidBlock(nn.Module):
    """The lowest resolution: attention between two residual blocks."""

    def __init__(self, c: int, config: UNetConfig) -> None:
        super().__init__()
        scale = config.mid_block_scale_factor
        groups = config.attn_norm_num_groups
        self.resnets = nn.ModuleList(ResnetBlock(c, c, config, scale) for _ in range(2))
        self.attentions = nn.ModuleList(
            [Attention(c, config, scale, groups=groups)] if config.add_attention else []
        )

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        x = self.resnets[0](x, emb)
        for attention in self.attentions:
            x = attention(x)
        out: Tensor = self.resnets[1](x, emb)
        return out


class UpBlock(nn.Module):
    """One level on the way up: each residual block also takes a feature map from the way down."""

    def __init__(
        self, c_in: int, c_skips: list[int], c_out: int, config: UNetConfig, kind: str, last: bool
    ) -> None:
        super().__init__()
        attention = kind.startswith("Attn")
        in_resnet = kind.startswith("Resnet") or (attention and config.upsample_type == "resnet")
        widths = [c_in] + [c_out] * (len(c_skips) - 1)
        self.resnets = nn.ModuleList(
            ResnetBlock(c + c_skip, c_out, config) for c, c_skip in zip(widths, c_skips, strict=True)
        )
        self.attentions = nn.ModuleList(Attention(c_out, config) for _ in widths if attention)
        self.upsamplers = nn.ModuleList()
        if not last:
            self.upsamplers.append(
                ResnetBlock(c_out, c_out, config, resample=repeat) if in_resnet else Upsample(c_out)
            )

    def forward(self, x: Tensor, skips: list[Tensor], emb: Tensor) -> Tensor:
        """Consume feature maps from the end of ``skips``."""
        for i, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], dim=1), emb)
            if self.attentions:
                x = self.attentions[i](x)
        for upsample in self.upsamplers:
            x = upsample(x, emb)
        return x
