"""A small transformer over tokens (Vaswani et al. 2017, arXiv:1706.03762; GPT-2's order of norms)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Config:
    """Hyperparameters, stored in ``config.json`` beside the weights."""

    vocabulary: int
    """Number of tokens, special ones included."""
    context: int
    """Maximum number of tokens."""
    causal: bool
    """True: a token attends to previous tokens only. False: to all tokens."""
    width: int = 48
    heads: int = 4
    layers: int = 2


class Block(nn.Module):
    """Attention, then an MLP, each with a residual connection."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.norm_1 = nn.LayerNorm(config.width)
        self.qkv = nn.Linear(config.width, 3 * config.width)
        self.out = nn.Linear(config.width, config.width)
        self.norm_2 = nn.LayerNorm(config.width)
        self.up = nn.Linear(config.width, 4 * config.width)
        self.down = nn.Linear(4 * config.width, config.width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, T, width) to the same shape."""
        n, T, width = x.shape
        q, k, v = (
            part.view(n, T, self.config.heads, -1).transpose(1, 2)  # (n, heads, T, width / heads)
            for part in self.qkv(self.norm_1(x)).split(width, dim=2)
        )
        seen = F.scaled_dot_product_attention(q, k, v, is_causal=self.config.causal)
        x = x + self.out(seen.transpose(1, 2).reshape(n, T, width))
        return x + self.down(F.gelu(self.up(self.norm_2(x))))  # type: ignore[no-any-return]


class Transformer(nn.Module):
    """Map tokens to logits."""

    def __init__(self, config: Config) -> None:
        super().__init__()
        self.config = config
        self.tokens = nn.Embedding(config.vocabulary, config.width)
        self.positions = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.width)
        self.head = nn.Linear(config.width, config.vocabulary)

    def forward(self, tokens: Tensor) -> Tensor:
        """Map tokens (n, T), T at most ``context``, to logits (n, T, vocabulary)."""
        x = self.tokens(tokens) + self.positions.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))  # type: ignore[no-any-return]


def sample_tokens(logits: Tensor, u: Tensor) -> Tensor:
    """Sample a token from logits (…, vocabulary) by the inverse CDF of one uniform number (…).

    Sums are in float64, so that rounding hardly ever changes the token.
    """
    cumulative = torch.softmax(logits.double(), dim=-1).cumsum(-1)
    below = cumulative < (u.double() * cumulative[..., -1]).unsqueeze(-1)
    return below.sum(-1)
