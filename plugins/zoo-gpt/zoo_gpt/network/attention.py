"""Causal self-attention: each token reads from those before it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.norm import HeadNorms, norm
from zoo_gpt.network.rope import rotate

QUERIES = 256
"""Queries whose scores are in memory at once, where no kernel computes attention."""


@dataclass(frozen=True)
class AttentionInputs:
    """The rotations and the masks of one forward pass."""

    rotations: Sequence[tuple[Tensor, Tensor] | None]
    """cos and sin of each layer, (n or 1, 1, t, dims/2); None: positions are not encoded there."""
    masks: Mapping[int | None, Tensor | None]
    """By window size: (n or 1, 1, t, s), True where a query sees a key; None: no mask is needed."""
    causal: bool
    """Where ``masks`` has None: use the kernels' built-in causal mask."""


class Attention(nn.Module):
    """Causal multi-head self-attention."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.heads = (config.heads, config.kv_heads, config.kv_heads)
        self.scale = config.attention_scale
        self.softcap = config.attention_softcap
        self.sinks = nn.Parameter(torch.empty(config.heads)) if config.attention_sinks else None
        self.window = config.windows[layer] if config.windows else None
        self.qkv = nn.Linear(config.width, sum(self.heads) * config.head_dim, bias=config.qkv_bias)
        self.qk_norm = config.qk_norm
        self.q_norm, self.k_norm = (_qk_norm(config, heads) for heads in (config.heads, config.kv_heads))
        self.out = nn.Linear(config.heads * config.head_dim, config.width, bias=config.out_bias)

    def forward(self, x: Tensor, inputs: AttentionInputs, cache: KVCache | None) -> Tensor:
        """Map (n, t, width) to the same shape."""
        n, t, _ = x.shape
        qkv = self.qkv(x).view(n, t, -1, self.head_dim).transpose(1, 2)
        # (n, heads + 2 · kv_heads, t, head_dim)
        q, k, v = qkv.split(self.heads, dim=1)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self._normalised(q, self.q_norm), self._normalised(k, self.k_norm)
        rotation = inputs.rotations[self.layer]
        if rotation is not None:
            q, k = rotate(q, *rotation), rotate(k, *rotation)
        if cache is not None:
            k, v = cache.update(self.layer, k, v)
            q = q.to(k.dtype)
        mask = inputs.masks[self.window]
        if self.softcap is not None or self.sinks is not None:
            h = attend(q, k, v, mask, self.scale or self.head_dim**-0.5, self.softcap, self.sinks)
        else:
            grouped = self.heads[0] != self.heads[1]
            causal = inputs.causal and mask is None
            h = F.scaled_dot_product_attention(
                q, k, v, mask, is_causal=causal, scale=self.scale, enable_gqa=grouped
            )
        out: Tensor = self.out(h.to(x.dtype).transpose(1, 2).reshape(n, t, -1))
        return out

    def _normalised(self, x: Tensor, norm: nn.Module) -> Tensor:
        if self.qk_norm == "width":
            together = x.transpose(1, 2)  # (n, t, heads, head_dim)
            return norm(together.flatten(2)).view_as(together).transpose(1, 2)  # type: ignore[no-any-return]
        out: Tensor = norm(x)
        return out


def _qk_norm(config: TransformerConfig, heads: int) -> nn.Module | None:
    if config.qk_norm == "heads":
        return HeadNorms(config, heads)
    widths = {"head": config.head_dim, "width": heads * config.head_dim}
    return None if config.qk_norm is None else norm(config, widths[config.qk_norm])


def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    mask: Tensor | None,
    scale: float,
    softcap: float | None,
    sinks: Tensor | None,
) -> Tensor:
    """Compute attention with what no kernel of torch does; return (n, heads, t, head_dim).

    Args:
        q: (n, heads, t, head_dim).
        k: (n, kv_heads, s, head_dim).
        v: The same shape.
        mask: (n or 1, 1, t, s), True where a query sees a key; None: every query sees all.
        scale: Factor of the scores.
        softcap: Scores s become c · tanh(s / c) (Gemma 2, arXiv:2408.00118, section 2).
        sinks: (heads,), each head's score of no key, which takes its share of the softmax.
    """
    n, heads, t, head_dim = q.shape
    kv_heads = k.shape[1]
    grouped = q.reshape(n, kv_heads, heads // kv_heads, t, head_dim)
    keys, values = k.transpose(2, 3)[:, :, None], v[:, :, None]
    parts = []
    for start in range(0, t, QUERIES):
        scores = (grouped[:, :, :, start : start + QUERIES] @ keys).float() * scale  # (n, kv, group, t, s)
        if softcap is not None:
            scores = softcap * torch.tanh(scores / softcap)
        if mask is not None:
            scores = scores.masked_fill(~mask[:, :, None, start : start + QUERIES], float("-inf"))
        if sinks is not None:
            sink = sinks.view(1, kv_heads, -1, 1, 1).expand(n, -1, -1, scores.shape[3], 1)
            scores = torch.cat([scores, sink.float()], dim=-1)
        parts.append(scores.softmax(-1)[..., : v.shape[2]].to(v.dtype) @ values)
    return torch.cat(parts, dim=3).view(q.shape)
