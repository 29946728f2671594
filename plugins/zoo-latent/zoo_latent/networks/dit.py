"""The diffusion transformer.

Peebles & Xie 2023, "Scalable Diffusion Models with Transformers" (arXiv:2212.09748): a transformer over
patches of the latents, whose norms are modulated by the timestep and the class (adaLN-Zero). Parameters are
named as in checkpoints of diffusers' ``DiTTransformer2DModel`` (facebook/DiT-XL-2-*).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Between
from zoo_latent.config import Positive, Size, read_published
from zoo_latent.networks.layers import Attention, TimestepEmbedding, sinusoidal_embedding

ONLY: Mapping[str, Any] = {
    "activation_fn": "gelu-approximate",
    "attention_type": "default",
    "caption_channels": None,
    "cross_attention_dim": None,
    "double_self_attention": False,
    "norm_elementwise_affine": False,
    "norm_type": "ada_norm_zero",
    "num_vector_embeds": None,
    "only_cross_attention": False,
    "use_additional_conditions": False,
    "use_linear_projection": False,
}
"""Settings for which one value is implemented."""
WITHOUT_EFFECT = frozenset({"dropout", "norm_num_groups", "upcast_attention", "interpolation_scale"})
FREQUENCIES = 256
"""Width of the sinusoidal embedding of the timestep."""
EPS = 1e-6
"""Epsilon of the first norm of each block, and of the last one."""


@dataclass(frozen=True)
class DiTConfig:
    """What a diffusion transformer is made of: the settings of config.json, with their defaults."""

    num_attention_heads: Size = 16
    attention_head_dim: Size = 72
    in_channels: Size = 4
    out_channels: Size | None = None
    """Twice ``in_channels`` where the variance is learned too."""
    num_layers: Size = 28
    attention_bias: bool = True
    sample_size: Annotated[int, Between(1, 4096)] = 32
    """Height and width of the latents; there are no others, because positions are fixed."""
    patch_size: Annotated[int, Between(1, 64)] = 2
    num_embeds_ada_norm: Size = 1000
    """Number of classes; the null class comes after them."""
    norm_eps: Positive = 1e-5

    def __post_init__(self) -> None:
        if self.sample_size % self.patch_size:
            raise ValueError(f"patch_size {self.patch_size} does not divide sample_size {self.sample_size}.")
        if self.width % 4:
            raise ValueError(f"the width {self.width} is no multiple of 4.")

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str) -> DiTConfig:
        """Read a config.json; WeightsError names a setting that is unknown or not implemented."""
        return read_published(cls, config, source, only=ONLY, ignore=WITHOUT_EFFECT)

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.num_attention_heads * self.attention_head_dim


def position_embedding(width: int, side: int, spacing: float = 1.0) -> Tensor:
    """Return fixed sines and cosines of the places of side × side patches: (side², width) float32.

    The first half of the channels is of the column, the second of the row.
    """
    omega = 1.0 / 10000 ** (torch.arange(width // 4, dtype=torch.float64) / (width / 4))
    place = torch.arange(side, dtype=torch.float64) * spacing
    angles = place[:, None] * omega  # (side, width / 4)
    waves = torch.cat([angles.sin(), angles.cos()], dim=1).float()  # (side, width / 2)
    columns, rows = waves[None].expand(side, -1, -1), waves[:, None].expand(-1, side, -1)
    return torch.cat([columns, rows], dim=2).flatten(0, 1)


class PatchEmbedding(nn.Module):
    """Patches of the latents as tokens, with their places."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        size = config.patch_size
        self.proj = nn.Conv2d(config.in_channels, config.width, size, size)
        self.side = config.sample_size // size

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, tokens, width)."""
        tokens: Tensor = self.proj(x).flatten(2).transpose(1, 2)
        return tokens + position_embedding(tokens.shape[2], self.side).to(tokens)


class LabelEmbedding(nn.Module):
    """The embeddings of the timestep and the class, added."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.timestep_embedder = TimestepEmbedding(FREQUENCIES, config.width)
        self.class_embedder = nn.ModuleDict(
            {"embedding_table": nn.Embedding(config.num_embeds_ada_norm + 1, config.width)}
        )

    def forward(self, t: Tensor, labels: Tensor) -> Tensor:
        """Map timesteps (n or 1,) and labels (n,) to (n, width)."""
        emb: Tensor = self.timestep_embedder(sinusoidal_embedding(t, FREQUENCIES, freq_shift=1))
        classes: Tensor = self.class_embedder["embedding_table"](labels)
        return emb + classes


class AdaLayerNormZero(nn.Module):
    """A norm's modulation: shift, scale and gate for attention and for the feed-forward network."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.emb = LabelEmbedding(config)
        self.linear = nn.Linear(config.width, 6 * config.width)

    def forward(self, t: Tensor, labels: Tensor) -> tuple[Tensor, ...]:
        """Return six tensors (n, 1, width)."""
        out: Tensor = self.linear(F.silu(self.emb(t, labels)))
        return out[:, None].chunk(6, dim=2)


class FeedForward(nn.Module):
    """Two linear layers around a GELU, by its tanh approximation."""

    def __init__(self, width: int) -> None:
        super().__init__()
        widen = nn.ModuleDict({"proj": nn.Linear(width, 4 * width)})
        self.net = nn.ModuleList([widen, nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        widen, _, narrow = self.net
        assert isinstance(widen, nn.ModuleDict)
        out: Tensor = narrow(F.gelu(widen["proj"](x), approximate="tanh"))
        return out


class Block(nn.Module):
    """Self-attention and a feed-forward network, each modulated and gated."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.norm1 = AdaLayerNormZero(config)
        self.attn1 = Attention(config.width, config.num_attention_heads, bias=config.attention_bias)
        self.ff = FeedForward(config.width)
        self.norm_eps = config.norm_eps

    def forward(self, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        shift, scale, gate, shift_ff, scale_ff, gate_ff = self.norm1(t, labels)
        x = x + gate * self.attn1(F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift)
        normed = F.layer_norm(x, x.shape[-1:], eps=self.norm_eps) * (1 + scale_ff) + shift_ff
        out: Tensor = x + gate_ff * self.ff(normed)
        return out


class DiT(nn.Module):
    """The network: patches to tokens, blocks, a last modulated norm, tokens to patches."""

    def __init__(self, config: DiTConfig) -> None:
        super().__init__()
        self.config = config
        width, self.out_channels = config.width, config.out_channels or config.in_channels
        self.pos_embed = PatchEmbedding(config)
        self.transformer_blocks = nn.ModuleList(Block(config) for _ in range(config.num_layers))
        self.proj_out_1 = nn.Linear(width, 2 * width)
        self.proj_out_2 = nn.Linear(width, config.patch_size**2 * self.out_channels)

    def forward(self, x: Tensor, t: Tensor | float, labels: Tensor) -> Tensor:
        """Predict from noisy latents.

        Args:
            x: x_t, (n, in_channels, sample_size, sample_size).
            t: Timesteps, (n,) or one for all.
            labels: Classes, (n,) int64; ``num_embeds_ada_norm`` is the null class.

        Returns:
            The prediction, (n, out_channels, sample_size, sample_size).
        """
        t = torch.as_tensor(t, device=x.device).reshape(-1)
        tokens = self.pos_embed(x)
        for block in self.transformer_blocks:
            tokens = block(tokens, t, labels)
        first = self.transformer_blocks[0].norm1
        assert isinstance(first, AdaLayerNormZero)
        shift, scale = self.proj_out_1(F.silu(first.emb(t, labels)))[:, None].chunk(2, dim=2)
        tokens = self.proj_out_2(F.layer_norm(tokens, tokens.shape[-1:], eps=EPS) * (1 + scale) + shift)
        return unpatched(tokens, self.config.patch_size)


def unpatched(tokens: Tensor, size: int, width: int | None = None) -> Tensor:
    """Map patches (n, rows · columns, size² · c) to (n, c, size · rows, size · columns).

    ``width`` is the number of columns; None: as many as rows.
    """
    columns = width or round(tokens.shape[1] ** 0.5)
    n, rows = len(tokens), tokens.shape[1] // columns
    patches = tokens.reshape(n, rows, columns, size, size, -1)  # (n, h, w, p, q, c)
    return patches.permute(0, 5, 1, 3, 2, 4).reshape(n, -1, rows * size, columns * size)
