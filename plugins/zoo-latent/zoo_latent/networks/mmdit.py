"""The multimodal diffusion transformer of Stable Diffusion 3 and 3.5.

Esser et al. 2024 (arXiv:2403.03206), section 4 and figure 2: patches of the latents and words have weights of
their own, and attend to each other. Parameters are named as in checkpoints of diffusers'
``SD3Transformer2DModel``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Between
from zoo_latent.config import Size, read_published
from zoo_latent.networks.dit import FREQUENCIES, FeedForward, unpatched
from zoo_latent.networks.layers import TimestepEmbedding, sinusoidal_embedding

EPS = 1e-6
"""Epsilon of every norm."""


@dataclass(frozen=True)
class MMDiTConfig:
    """What the transformer is made of: the settings of config.json, with their defaults."""

    sample_size: Annotated[int, Between(1, 4096)] = 128
    """Height and width of the latents that the model learned."""
    patch_size: Annotated[int, Between(1, 64)] = 2
    in_channels: Size = 16
    out_channels: Size = 16
    num_layers: Annotated[int, Between(1, 1000)] = 18
    attention_head_dim: Size = 64
    num_attention_heads: Size = 18
    joint_attention_dim: Size = 4096
    """Width of the words."""
    caption_projection_dim: Size = 1152
    pooled_projection_dim: Size = 2048
    """Width of the whole prompt's embedding."""
    pos_embed_max_size: Annotated[int, Between(1, 4096)] = 96
    """Most patches along a side."""
    dual_attention_layers: tuple[Annotated[int, Between(0, 999)], ...] = ()
    """Layers where patches also attend to themselves alone (3.5 medium)."""
    qk_norm: Literal["rms_norm"] | None = None

    def __post_init__(self) -> None:
        if self.caption_projection_dim != self.width:
            raise ValueError(
                f"caption_projection_dim is {self.caption_projection_dim}, the width {self.width}."
            )

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str) -> MMDiTConfig:
        """Read a config.json; WeightsError names a setting that is unknown or not implemented."""
        return read_published(cls, config, source)

    @property
    def width(self) -> int:
        """Channels of a token."""
        return self.num_attention_heads * self.attention_head_dim


class PatchEmbedding(nn.Module):
    """Patches of the latents as tokens, with their places: the middle of a square of the largest size."""

    def __init__(self, config: MMDiTConfig) -> None:
        super().__init__()
        self.proj = nn.Conv2d(config.in_channels, config.width, config.patch_size, config.patch_size)
        self.side = config.pos_embed_max_size
        self.pos_embed = nn.Parameter(torch.empty(1, self.side**2, config.width))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, tokens, width)."""
        patches: Tensor = self.proj(x)
        height, width = patches.shape[2:]
        top, left = (self.side - height) // 2, (self.side - width) // 2
        places = self.pos_embed.view(self.side, self.side, -1)[top : top + height, left : left + width]
        return patches.flatten(2).transpose(1, 2) + places.flatten(0, 1)


class ConditionEmbedding(nn.Module):
    """The embeddings of the timestep and the whole prompt, added."""

    def __init__(self, config: MMDiTConfig) -> None:
        super().__init__()
        self.timestep_embedder = TimestepEmbedding(FREQUENCIES, config.width)
        self.text_embedder = TimestepEmbedding(config.pooled_projection_dim, config.width)

    def forward(self, t: Tensor, pooled: Tensor) -> Tensor:
        """Map timesteps (n or 1,) and prompts (n, pooled) to (n, width)."""
        of_prompt: Tensor = self.text_embedder(pooled)
        of_time: Tensor = self.timestep_embedder(sinusoidal_embedding(t, FREQUENCIES))
        return of_time + of_prompt


class Modulation(nn.Module):
    """Shifts, scales and gates (n, 1, width) of a condition (n, width)."""

    def __init__(self, width: int, count: int) -> None:
        super().__init__()
        self.linear, self.count = nn.Linear(width, count * width), count

    def forward(self, emb: Tensor) -> tuple[Tensor, ...]:
        """Return ``count`` tensors; ``emb`` is the SiLU of the condition."""
        out: Tensor = self.linear(emb)
        return out[:, None].chunk(self.count, dim=2)


def modulated(x: Tensor, shift: Tensor, scale: Tensor) -> Tensor:
    """Normalise tokens (n, tokens, width), then scale and shift them."""
    return F.layer_norm(x, x.shape[-1:], eps=EPS) * (1 + scale) + shift


class JointAttention(nn.Module):
    """Attention over patches, and over words with projections of their own if ``words``.

    Args:
        config: The transformer's.
        words: Whether words take part.
        answers: Whether their result is used.
    """

    def __init__(self, config: MMDiTConfig, words: bool, answers: bool) -> None:
        super().__init__()
        width, size = config.width, config.attention_head_dim

        def norm() -> nn.Module:
            return nn.RMSNorm(size, EPS) if config.qk_norm else nn.Identity()

        self.heads = config.num_attention_heads
        self.to_q, self.to_k, self.to_v = (nn.Linear(width, width) for _ in range(3))
        self.norm_q, self.norm_k = norm(), norm()
        self.to_out = nn.ModuleList([nn.Linear(width, width)])
        if words:
            self.add_q_proj, self.add_k_proj, self.add_v_proj = (nn.Linear(width, width) for _ in range(3))
            self.norm_added_q, self.norm_added_k = norm(), norm()
        self.to_add_out = nn.Linear(width, width) if answers else None

    def _heads(self, tokens: Tensor) -> Tensor:
        n, length, _ = tokens.shape
        return tokens.view(n, length, self.heads, -1).transpose(1, 2)  # (n, heads, tokens, head_dim)

    def forward(self, x: Tensor, words: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """Map patches (n, tokens, width), and words (n, words, width), to the same shapes."""
        q, k = self.norm_q(self._heads(self.to_q(x))), self.norm_k(self._heads(self.to_k(x)))
        v = self._heads(self.to_v(x))
        if words is not None:
            q = torch.cat([q, self.norm_added_q(self._heads(self.add_q_proj(words)))], dim=2)
            k = torch.cat([k, self.norm_added_k(self._heads(self.add_k_proj(words)))], dim=2)
            v = torch.cat([v, self._heads(self.add_v_proj(words))], dim=2)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        answer = None if self.to_add_out is None else self.to_add_out(h[:, x.shape[1] :])
        return self.to_out[0](h[:, : x.shape[1]]), answer


class Block(nn.Module):
    """Joint attention, then a feed-forward network for each kind of token; the last block drops the words."""

    def __init__(self, config: MMDiTConfig, dual: bool, last: bool) -> None:
        super().__init__()
        width = config.width
        self.norm1 = Modulation(width, 9 if dual else 6)
        self.norm1_context = Modulation(width, 2 if last else 6)
        self.attn = JointAttention(config, words=True, answers=not last)
        self.attn2 = JointAttention(config, words=False, answers=False) if dual else None
        self.ff = FeedForward(width)
        self.ff_context = None if last else FeedForward(width)

    def forward(self, x: Tensor, words: Tensor, emb: Tensor) -> tuple[Tensor, Tensor]:
        """Map patches (n, tokens, width) and words (n, words, width) to the same shapes."""
        shift, scale, gate, shift_ff, scale_ff, gate_ff, *own = self.norm1(emb)
        of_words = self.norm1_context(emb)
        if self.ff_context is None:
            normed_words = modulated(words, of_words[1], of_words[0])
        else:
            normed_words = modulated(words, of_words[0], of_words[1])
        attended, answer = self.attn(modulated(x, shift, scale), normed_words)
        if self.attn2 is not None:
            shift_own, scale_own, gate_own = own
            x = x + gate * attended + gate_own * self.attn2(modulated(x, shift_own, scale_own))[0]
        else:
            x = x + gate * attended
        x = x + gate_ff * self.ff(modulated(x, shift_ff, scale_ff))
        if self.ff_context is not None:
            _, _, gate, shift_ff, scale_ff, gate_ff = of_words
            words = words + gate * answer
            words = words + gate_ff * self.ff_context(modulated(words, shift_ff, scale_ff))
        return x, words


class MMDiT(nn.Module):
    """The network: it predicts the velocity of a rectified flow."""

    def __init__(self, config: MMDiTConfig) -> None:
        super().__init__()
        self.config = config
        width, last = config.width, config.num_layers - 1
        self.pos_embed = PatchEmbedding(config)
        self.time_text_embed = ConditionEmbedding(config)
        self.context_embedder = nn.Linear(config.joint_attention_dim, width)
        self.transformer_blocks = nn.ModuleList(
            Block(config, i in config.dual_attention_layers, i == last) for i in range(config.num_layers)
        )
        self.norm_out = Modulation(width, 2)
        self.proj_out = nn.Linear(width, config.patch_size**2 * config.out_channels)

    def forward(self, x: Tensor, t: Tensor | float, words: Tensor, pooled: Tensor) -> Tensor:
        """Predict the velocity.

        Args:
            x: Noisy latents, (n, in_channels, h, w); h and w are multiples of ``patch_size``, and at most
                ``pos_embed_max_size`` times as large.
            t: Timesteps, (n,) or one for all.
            words: (n, words, joint_attention_dim).
            pooled: The whole prompts, (n, pooled_projection_dim).

        Returns:
            ε − x_0, (n, out_channels, h, w).
        """
        t = torch.as_tensor(t, device=x.device, dtype=torch.float32).reshape(-1)
        emb = F.silu(self.time_text_embed(t, pooled))
        tokens, words = self.pos_embed(x), self.context_embedder(words)
        for block in self.transformer_blocks:
            tokens, words = block(tokens, words, emb)
        scale, shift = self.norm_out(emb)
        out = self.proj_out(modulated(tokens, shift, scale))
        return unpatched(out, self.config.patch_size, x.shape[3] // self.config.patch_size)
