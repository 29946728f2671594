"""Layers that U-Nets and autoencoders share.

In shape comments n is the batch, c channels, h × w the feature map, e the width of the time embedding.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def sinusoidal_embedding(t: Tensor, width: int, flip: bool = True, freq_shift: float = 0.0) -> Tensor:
    """Embed numbers t (n,) as sines and cosines at geometrically spaced frequencies: (n, width) float32.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.5; ``flip`` puts the cosines first.
    """
    half = width // 2
    i = torch.arange(half, dtype=torch.float32, device=t.device)
    angles = t.float()[:, None] * torch.exp(-math.log(10000) * i / (half - freq_shift))  # (n, width / 2)
    waves = [angles.cos(), angles.sin()] if flip else [angles.sin(), angles.cos()]
    return torch.cat(waves, dim=1)


def as_tokens(x: Tensor) -> Tensor:
    """View a channels-last feature map (n, c, h, w) as (n, h·w, c)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def as_image(tokens: Tensor, like: Tensor) -> Tensor:
    """View tokens (n, h·w, c) as a channels-last feature map of the height and width of another one."""
    return tokens.view(len(tokens), *like.shape[2:], -1).permute(0, 3, 1, 2)


class TimestepEmbedding(nn.Module):
    """Two linear layers that turn sinusoids, and a condition if there is one, into an embedding."""

    def __init__(self, c: int, e: int, condition: int | None = None) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(c, e)
        self.linear_2 = nn.Linear(e, e)
        self.cond_proj = nn.Linear(condition, c, bias=False) if condition else None

    def forward(self, waves: Tensor, condition: Tensor | None = None) -> Tensor:
        """Map (n, c), and a condition (n, condition), to (n, e)."""
        waves = waves.to(self.linear_1.weight.dtype)
        if self.cond_proj is not None and condition is not None:
            waves = waves + self.cond_proj(condition.to(waves.dtype))
        emb: Tensor = self.linear_2(F.silu(self.linear_1(waves)))
        return emb


class ResnetBlock(nn.Module):
    """Twice norm, SiLU, 3×3 convolution, beside a shortcut; half-way, a time embedding may be added."""

    def __init__(
        self, c_in: int, c_out: int, groups: int, eps: float, e: int | None = None, scale: float = 1.0
    ) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(groups, c_in, eps)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(e, c_out) if e else None
        self.norm2 = nn.GroupNorm(groups, c_out, eps)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else None
        self.scale = scale

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        """Map x (n, c_in, h, w) and emb (n or 1, e), the SiLU of the time embedding, to (n, c_out, h, w)."""
        h: Tensor = self.conv1(F.silu(self.norm1(x)))  # (n, c_out, h, w)
        if self.time_emb_proj is not None:
            h = h + self.time_emb_proj(emb)[:, :, None, None]
        h = self.conv2(F.silu(self.norm2(h)))
        shortcut = x if self.conv_shortcut is None else self.conv_shortcut(x)
        out = shortcut + h
        return out if self.scale == 1 else out / self.scale


class Downsample(nn.Module):
    """Halve height and width by a stride-2 convolution; ``padding`` 0 pads the bottom and right edges."""

    def __init__(self, c: int, padding: int) -> None:
        super().__init__()
        self.pads_at_the_end = padding == 0
        self.conv = nn.Conv2d(c, c, 3, stride=2, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, h/2, w/2), rounded up with a padding of 1."""
        half: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.pads_at_the_end else x)
        return half


class Upsample(nn.Module):
    """Repeat pixels up to a size, then a convolution."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor, size: tuple[int, int] | None = None) -> Tensor:
        """Map (n, c, h, w) to (n, c, *size); None is twice the size."""
        size = size or (2 * x.shape[2], 2 * x.shape[3])
        large: Tensor = self.conv(F.interpolate(x, size=size, mode="nearest"))
        return large


class Attention(nn.Module):
    """Attention of queries x over keys and values of a context, or of x itself, in several heads."""

    def __init__(
        self, width: int, heads: int, context: int | None = None, *, bias: bool = False, groups: int = 0,
        eps: float = 1e-6,
    ) -> None:  # fmt: skip
        super().__init__()
        self.heads = heads
        self.group_norm = nn.GroupNorm(groups, width, eps) if groups else None
        self.to_q = nn.Linear(width, width, bias=bias)
        self.to_k = nn.Linear(context or width, width, bias=bias)
        self.to_v = nn.Linear(context or width, width, bias=bias)
        self.to_out = nn.ModuleList([nn.Linear(width, width)])

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map x (n, tokens, width), and a context (n, words, context), to (n, tokens, width)."""
        context = x if context is None else context
        q, k, v = (
            tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (n, heads, tokens, head_dim)
            for tokens in (self.to_q(x), self.to_k(context), self.to_v(context))
        )
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        out: Tensor = self.to_out[0](h)
        return out


class ImageAttention(Attention):
    """Self-attention over the h·w positions of a feature map, beside a shortcut."""

    def __init__(self, c: int, heads: int, groups: int, eps: float = 1e-6) -> None:
        super().__init__(c, heads, bias=True, groups=groups, eps=eps)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        assert self.group_norm is not None
        return x + as_image(super().forward(as_tokens(self.group_norm(x))), x)
