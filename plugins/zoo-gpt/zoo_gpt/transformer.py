"""One decoder-only transformer for a whole family tree: GPT-2, GPT-Neo, GPT-NeoX, Llama, Qwen, ImageGPT.

p(X) = p(x_1) p(x_2 | x_1) … p(x_n | x_1 … x_{n−1}): the network maps every prefix of a sequence to the
distribution of what follows. Read from the bottom: norm, attention, MLP, block, transformer.

Vaswani et al. 2017 (arXiv:1706.03762); Radford et al. 2019 (GPT-2); Touvron et al. 2023 (Llama,
arXiv:2302.13971). How each published model is configured, and what its tensors are called: ``families.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gpt.rope import GridRope, Rope, rotate


def quick_gelu(x: Tensor) -> Tensor:
    """x · σ(1.702 x), an approximation of GELU (Hendrycks & Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
}
"""By the names that published configs use."""


@dataclass(frozen=True)
class TransformerConfig:
    """What tells one member of the family from another."""

    vocab_size: int
    """Tokens that can be read."""
    width: int
    layers: int
    heads: int
    head_dim: int
    context: int
    """The longest sequence."""
    mlp_width: int
    vocab_out: int
    """Tokens that can be predicted: the first so many of those read. The others only start sequences."""
    kv_heads: int
    """Heads of keys and values, shared by groups of query heads (Ainslie et al. 2023, arXiv:2305.13245)."""
    activation: str = "gelu_new"
    gated: bool = False
    """SwiGLU's product of two layers (Shazeer 2020, arXiv:2002.05202) in place of one."""
    rms_norm: bool = False
    """Scale by the root mean square alone (Zhang & Sennrich 2019, arXiv:1910.07467)."""
    norm_eps: float = 1e-5
    rope: Rope | GridRope | None = None
    """None: a learned embedding of each position."""
    attention_scale: float | None = None
    """What scores are multiplied by; None: 1/√head_dim."""
    windows: tuple[int | None, ...] = ()
    """By layer, how many positions back it sees, its own included; None or no entry: all."""
    qk_norm: bool = False
    """Normalise each head's queries and keys."""
    qkv_bias: bool = True
    out_bias: bool = True
    mlp_bias: bool = True
    parallel: bool = False
    """Attention and MLP read the same input, side by side."""
    tied: bool = True
    """The head's weight is the embedding's."""
    dropout: float = 0.0
    """Only while training."""


class Cache:
    """Keys and values of the positions read so far, in memory taken once.

    Args:
        config: The network's.
        n: Sequences.
        length: Positions there is room for.
        device: Where.
        dtype: The network's, or a finer one: attention is then computed in it.
        pads: (n,) int64: how many positions at the start of each sequence are padding; None: none.
    """

    def __init__(
        self,
        config: TransformerConfig,
        n: int,
        length: int,
        device: torch.device,
        dtype: torch.dtype,
        pads: Tensor | None = None,
    ) -> None:
        shape = (config.layers, 2, n, config.kv_heads, length, config.head_dim)
        self.kv = torch.zeros(shape, device=device, dtype=dtype)
        self.layers = [(self.kv[layer, 0], self.kv[layer, 1]) for layer in range(config.layers)]
        """Of each its keys and values, (n, kv_heads, length, head_dim), which ``kv`` holds."""
        self.pads = pads
        self.used = 0
        """Positions that are filled."""

    @property
    def length(self) -> int:
        """Positions there is room for."""
        return self.kv.shape[4]

    def next(self, t: int) -> tuple[Tensor, int, bool]:
        """Where ``t`` more tokens go.

        Returns:
            Their positions (t,) int64, after how many positions what a layer returns ends, and whether a
            last token sees all of these.
        """
        end = self.used + t
        return torch.arange(self.used, end, device=self.kv.device), end, True

    def advance(self, t: int) -> None:
        """Count ``t`` more positions as filled, when every layer has been extended by them."""
        self.used += t

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v (n, kv_heads, t, head_dim) after what is there; return all of that layer."""
        keys, values = self.layers[layer]
        t = k.shape[2]
        keys.narrow(2, self.used, t).copy_(k)
        values.narrow(2, self.used, t).copy_(v)
        end = self.used + t
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)


@dataclass(frozen=True)
class View:
    """What all layers need to know of the positions at hand."""

    rotation: tuple[Tensor, Tensor] | None
    """cos and sin, (n or 1, 1, t, dims/2)."""
    masks: Mapping[int | None, Tensor | None]
    """By window: (n or 1, 1, t, s), True where a query sees a key; None: every query sees every key."""
    causal: bool
    """Queries see what is not after them; no mask is needed to say so."""


def norm(config: TransformerConfig, width: int) -> nn.Module:
    """A norm over ``width`` channels."""
    return (nn.RMSNorm if config.rms_norm else nn.LayerNorm)(width, eps=config.norm_eps)


class Attention(nn.Module):
    """Causal self-attention, several heads at once."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.heads = (config.heads, config.kv_heads, config.kv_heads)
        self.scale = config.attention_scale
        self.window = config.windows[layer] if config.windows else None
        self.qkv = nn.Linear(config.width, sum(self.heads) * config.head_dim, bias=config.qkv_bias)
        self.q_norm = norm(config, config.head_dim) if config.qk_norm else None
        self.k_norm = norm(config, config.head_dim) if config.qk_norm else None
        self.out = nn.Linear(config.heads * config.head_dim, config.width, bias=config.out_bias)

    def forward(self, x: Tensor, view: View, cache: Cache | None) -> Tensor:
        """Map (n, t, width) to the same shape."""
        n, t, _ = x.shape
        qkv = (
            self.qkv(x).view(n, t, -1, self.head_dim).transpose(1, 2)
        )  # (n, heads + 2·kv_heads, t, head_dim)
        q, k, v = qkv.split(self.heads, dim=1)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if view.rotation is not None:
            q, k = rotate(q, *view.rotation), rotate(k, *view.rotation)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)
            q = q.to(k.dtype)
        mask = view.masks[self.window]
        grouped = self.heads[0] != self.heads[1]
        causal = view.causal and mask is None
        h = F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=causal, scale=self.scale, enable_gqa=grouped
        )
        out: Tensor = self.out(h.to(x.dtype).transpose(1, 2).reshape(n, t, -1))
        return out


class MLP(nn.Module):
    """Two layers with an activation between them, which a third may gate."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.gate = nn.Linear(config.width, config.mlp_width, bias=config.mlp_bias) if config.gated else None
        self.up = nn.Linear(config.width, config.mlp_width, bias=config.mlp_bias)
        self.down = nn.Linear(config.mlp_width, config.width, bias=config.mlp_bias)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, t, width) to the same shape."""
        h = self.activation(self.up(x)) if self.gate is None else self.activation(self.gate(x)) * self.up(x)
        out: Tensor = self.down(h)
        return out


class Block(nn.Module):
    """Attention, then MLP, each added to what it reads; norms before them."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.norm1 = norm(config, config.width)
        self.attention = Attention(config, layer)
        self.norm2 = norm(config, config.width)
        self.mlp = MLP(config)
        self.dropout = config.dropout
        self.parallel = config.parallel

    def forward(self, x: Tensor, view: View, cache: Cache | None) -> Tensor:
        """Map (n, t, width) to the same shape."""
        h = x + self._dropped(self.attention(self.norm1(x), view, cache))
        out: Tensor = h + self._dropped(self.mlp(self.norm2(x if self.parallel else h)))
        return out

    def _dropped(self, x: Tensor) -> Tensor:
        # A module that does nothing would take a fiftieth of GPT-2's step in int8.
        return F.dropout(x, self.dropout) if self.training else x


class Transformer(nn.Module):
    """Tokens in, logits of the next token out."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.positions = None if config.rope else nn.Embedding(config.context, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = norm(config, config.width)
        self.head: nn.Module | None = None
        if not config.tied:
            self.head = nn.Linear(config.width, config.vocab_out, bias=False)

    @property
    def dtype(self) -> torch.dtype:
        """The type that is computed in; embeddings may be kept in another."""
        return next(self.norm.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.embedding.weight.device

    def forward(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Map tokens (n, t) int64 to logits (n, t, vocab_out), where [:, i] is of what follows token i.

        With a cache, ``tokens`` follow those in it, and are added to it.
        """
        return self.logits(self.features(tokens, cache))

    def features(self, tokens: Tensor, cache: Cache | None = None) -> Tensor:
        """Map tokens (n, t) to (n, t, width), which :meth:`logits` reads, all of it or what is wanted."""
        t = tokens.shape[1]
        queries, end, whole = (
            (torch.arange(t, device=tokens.device), t, True) if cache is None else cache.next(t)
        )
        pads = None if cache is None else cache.pads
        positions = queries[None]  # (n or 1, t)
        if pads is not None:
            # Beyond the context is only what is added to a sequence that has ended.
            positions = (queries - pads[:, None]).clamp(0, self.config.context - 1)
        x = self.embedding(tokens).to(self.dtype)
        if self.positions is not None:
            x = x + self.positions(positions).to(self.dtype)
        x = self.dropout(x)
        view = self._view(queries, end, whole, positions, pads)
        for block in self.blocks:
            x = block(x, view, cache)
        if cache is not None:
            cache.advance(t)
        out: Tensor = self.norm(x)
        return out

    def next_logits(self, tokens: Tensor, cache: Cache) -> Tensor:
        """Add tokens (n, t) to the cache; return the logits after the last, (n, vocab_out) float32."""
        return self.logits(self.features(tokens, cache)[:, -1]).float()

    def logits(self, features: Tensor) -> Tensor:
        """Map features (…, width) to logits (…, vocab_out)."""
        if self.head is not None:
            out: Tensor = self.head(features)
            return out
        return F.linear(features, self.embedding.weight[: self.config.vocab_out])

    def _view(self, queries: Tensor, end: int, whole: bool, positions: Tensor, pads: Tensor | None) -> View:
        rotation = None
        if self.config.rope is not None:
            cos, sin = self.config.rope.rotation(positions)
            rotation = (cos[:, None].to(self.dtype), sin[:, None].to(self.dtype))
        t = len(queries)
        keys = torch.arange(end, device=queries.device)
        # One query after all keys sees all, and a square of them is causal: kernels know both without a mask.
        plain = pads is None and whole and t in (1, end)
        masks: dict[int | None, Tensor | None] = {}
        for window in {None, *self.config.windows}:
            if plain and (window is None or end <= window):
                masks[window] = None
                continue
            sees = keys <= queries[:, None]  # (t, s)
            if window is not None:
                sees &= keys > queries[:, None] - window
            if pads is not None:
                # Padding sees itself, for a query that sees nothing has no mean to take.
                sees = sees & (keys >= pads[:, None])[:, None] | (keys == queries[:, None])
            masks[window] = sees[None, None] if pads is None else sees[:, None]
        return View(rotation, masks, causal=t > 1)
