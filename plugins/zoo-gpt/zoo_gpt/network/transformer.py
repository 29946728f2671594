"""One decoder-only transformer for GPT-2, GPT-Neo, GPT-NeoX, Llama, Qwen, ImageGPT and LlamaGen.

p(X) = p(x_1) p(x_2 | x_1) … p(x_n | x_1 … x_{n−1}): the network maps every prefix of a sequence to the
distribution of the next token. From the smallest part to the whole: norm, attention, MLP, block, transformer.

Vaswani et al. 2017 (arXiv:1706.03762); Radford et al. 2019 (GPT-2); Touvron et al. 2023 (Llama,
arXiv:2302.13971). ``families/`` holds each published family's config reading and tensor names.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.rope import rotate


def quick_gelu(x: Tensor) -> Tensor:
    """Return x · σ(1.702 x), an approximation of GELU (Hendrycks & Gimpel 2016, section 2)."""
    return x * torch.sigmoid(1.702 * x)


ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": partial(F.gelu, approximate="tanh"),
    "gelu_pytorch_tanh": partial(F.gelu, approximate="tanh"),
    "quick_gelu": quick_gelu,
    "relu": F.relu,
    "silu": F.silu,
}
"""Activations by their names in published configs."""


INITIAL_STD = 0.02
"""Standard deviation of fresh weights (GPT-2)."""


@dataclass(frozen=True)
class AttentionInputs:
    """The rotation and the masks of one forward pass, the same for every layer."""

    rotation: tuple[Tensor, Tensor] | None
    """cos and sin, (n or 1, 1, t, dims/2)."""
    masks: Mapping[int | None, Tensor | None]
    """By window size: (n or 1, 1, t, s), True where a query sees a key; None: no mask is needed."""
    causal: bool
    """Where ``masks`` has None: use the kernels' built-in causal mask."""


def norm(config: TransformerConfig, width: int) -> nn.Module:
    """Return the norm of ``width`` channels that the config asks for."""
    return (nn.RMSNorm if config.rms_norm else nn.LayerNorm)(width, eps=config.norm_eps)


class Attention(nn.Module):
    """Causal multi-head self-attention."""

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

    def forward(self, x: Tensor, inputs: AttentionInputs, cache: KVCache | None) -> Tensor:
        """Map (n, t, width) to the same shape."""
        n, t, _ = x.shape
        qkv = self.qkv(x).view(n, t, -1, self.head_dim).transpose(1, 2)
        # (n, heads + 2 · kv_heads, t, head_dim)
        q, k, v = qkv.split(self.heads, dim=1)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if inputs.rotation is not None:
            q, k = rotate(q, *inputs.rotation), rotate(k, *inputs.rotation)
        if cache is not None:
            k, v = cache.update(self.layer, k, v)
            q = q.to(k.dtype)
        mask = inputs.masks[self.window]
        grouped = self.heads[0] != self.heads[1]
        causal = inputs.causal and mask is None
        h = F.scaled_dot_product_attention(
            q, k, v, mask, is_causal=causal, scale=self.scale, enable_gqa=grouped
        )
        out: Tensor = self.out(h.to(x.dtype).transpose(1, 2).reshape(n, t, -1))
        return out


class MLP(nn.Module):
    """Two linear layers with an activation between them; a third may gate it."""

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
    """Attention and MLP, each with a norm before it and a residual connection around it."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.norm1 = norm(config, config.width)
        self.attention = Attention(config, layer)
        self.norm2 = norm(config, config.width)
        self.mlp = MLP(config)
        self.dropout = config.dropout
        self.parallel = config.parallel

    def forward(self, x: Tensor, inputs: AttentionInputs, cache: KVCache | None) -> Tensor:
        """Map (n, t, width) to the same shape."""
        h = x + self._dropped(self.attention(self.norm1(x), inputs, cache))
        out: Tensor = h + self._dropped(self.mlp(self.norm2(x if self.parallel else h)))
        return out

    def _dropped(self, x: Tensor) -> Tensor:
        # F.dropout and not a module: an idle module would take 2% of a GPT-2 step in int8.
        return F.dropout(x, self.dropout) if self.training else x


class Transformer(nn.Module):
    """Map tokens to the logits of the token after each."""

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
        """The type the network computes in; embeddings may be stored in another."""
        return next(self.norm.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.embedding.weight.device

    def forward(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Map tokens (n, t) int64 to logits (n, t, vocab_out), where [:, i] predicts the token after token i.

        With a cache, ``tokens`` continue the sequences in it and are added to it.
        """
        return self.logits(self.features(tokens, cache))

    def features(self, tokens: Tensor, cache: KVCache | None = None) -> Tensor:
        """Map tokens (n, t) to features (n, t, width), all or some of which :meth:`logits` takes."""
        t = tokens.shape[1]
        queries, end, sees_all = (
            (torch.arange(t, device=tokens.device), t, True) if cache is None else cache.next_positions(t)
        )
        left_padding = None if cache is None else cache.left_padding
        positions = queries[None]  # (n or 1, t)
        if left_padding is not None:
            # Only sequences that have already ended run past the context.
            positions = (queries - left_padding[:, None]).clamp(0, self.config.context - 1)
        x = self.embedding(tokens).to(self.dtype)
        if self.positions is not None:
            x = x + self.positions(positions).to(self.dtype)
        x = self.dropout(x)
        inputs = self._attention_inputs(queries, end, sees_all, positions, left_padding)
        for block in self.blocks:
            x = block(x, inputs, cache)
        if cache is not None:
            cache.advance(t)
        out: Tensor = self.norm(x)
        return out

    def next_logits(self, tokens: Tensor, cache: KVCache) -> Tensor:
        """Add tokens (n, t) to the cache; return the logits of the next token, (n, vocab_out) float32."""
        return self.logits(self.features(tokens, cache)[:, -1]).float()

    def logits(self, features: Tensor) -> Tensor:
        """Map features (…, width) to logits (…, vocab_out)."""
        if self.head is not None:
            out: Tensor = self.head(features)
            return out
        return F.linear(features, self.embedding.weight[: self.config.vocab_out])

    def _attention_inputs(
        self, queries: Tensor, end: int, sees_all: bool, positions: Tensor, left_padding: Tensor | None
    ) -> AttentionInputs:
        rotation = None
        if self.config.rope is not None:
            cos, sin = self.config.rope.rotation(positions)
            rotation = (cos[:, None].to(self.dtype), sin[:, None].to(self.dtype))
        t = len(queries)
        keys = torch.arange(end, device=queries.device)
        # Kernels need no mask for one query that attends to all keys, nor for a causal square.
        needs_no_mask = left_padding is None and sees_all and t in (1, end)
        masks: dict[int | None, Tensor | None] = {}
        for window in {None, *self.config.windows}:
            if needs_no_mask and (window is None or end <= window):
                masks[window] = None
                continue
            sees = keys <= queries[:, None]  # (t, s)
            if window is not None:
                sees &= keys > queries[:, None] - window
            if left_padding is not None:
                # Padding attends to itself: a softmax over no key at all would be NaN.
                sees = sees & (keys >= left_padding[:, None])[:, None] | (keys == queries[:, None])
            masks[window] = sees[None, None] if left_padding is None else sees[:, None]
        return AttentionInputs(rotation, masks, causal=t > 1)


def initialise(transformer: Transformer) -> Transformer:
    """Draw fresh weights as GPT-2 does (Radford et al. 2019, section 2.3); return the network.

    Each layer adds to the residual stream twice: those weights start √(2 · layers) times smaller.
    """
    residual_std = INITIAL_STD / math.sqrt(2 * transformer.config.layers)
    for module in transformer.modules():
        if isinstance(module, nn.Linear | nn.Embedding):
            nn.init.normal_(module.weight, std=INITIAL_STD)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)
    for module in transformer.modules():
        if isinstance(module, Attention):
            nn.init.normal_(module.out.weight, std=residual_std)
        if isinstance(module, MLP):
            nn.init.normal_(module.down.weight, std=residual_std)
    return transformer
