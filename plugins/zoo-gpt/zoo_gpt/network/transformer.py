"""One decoder-only transformer for all families.

p(X) = p(x_1) p(x_2 | x_1) … p(x_n | x_1 … x_{n−1}): the network maps every prefix of a sequence to the
distribution of the next token. The parts are in ``norm.py``, ``attention.py``,
``mlp.py`` and ``experts.py``; here are the block and the whole.

Vaswani et al. 2017 (arXiv:1706.03762); Radford et al. 2019 (GPT-2); Touvron et al. 2023 (Llama,
arXiv:2302.13971). ``families/`` holds each published family's config reading and tensor names.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gpt.network.attention import Attention, AttentionInputs
from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.config import TransformerConfig
from zoo_gpt.network.experts import Experts
from zoo_gpt.network.mlp import MLP
from zoo_gpt.network.norm import norm
from zoo_gpt.network.rope import GridRope, Rope

INITIAL_STD = 0.02
"""Standard deviation of fresh weights (GPT-2)."""


class Block(nn.Module):
    """Attention and MLP, each with norms and a residual connection around it."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        norms = {
            "norm1": config.norm_inputs,
            "norm1_out": config.norm_outputs,
            "norm2": config.norm_inputs and not config.shared_norm,
            "norm2_out": config.norm_outputs,
        }
        self.norm1, self.norm1_out, self.norm2, self.norm2_out = (
            norm(config, config.width) if there else None for there in norms.values()
        )
        self.attention = Attention(config, layer)
        self.mlp: MLP | Experts
        if config.experts is None:
            self.mlp = MLP(config, config.mlp_width)
        elif layer in config.dense_layers:
            self.mlp = MLP(config, config.dense_mlp_width)
        else:
            self.mlp = Experts(config, config.experts)
        self.dropout = config.dropout
        self.parallel = config.parallel
        self.scale = config.residual_scale

    def forward(self, x: Tensor, inputs: AttentionInputs, cache: KVCache | None) -> Tensor:
        """Map (n, t, width) to the same shape."""
        read = x if self.norm1 is None else self.norm1(x)
        h = self._added(x, self.attention(read, inputs, cache), self.norm1_out)
        if self.norm2 is not None:
            read = self.norm2(x if self.parallel else h)
        elif not self.parallel:
            read = h
        return self._added(h, self.mlp(read), self.norm2_out)

    def _added(self, x: Tensor, branch: Tensor, norm: nn.Module | None) -> Tensor:
        """Add what attention or the MLP returned to the residual stream."""
        if norm is not None:
            branch = norm(branch)
        if self.scale != 1:
            branch = branch * self.scale
        # F.dropout and not a module: an idle module would take 2% of a GPT-2 step in int8.
        return x + (F.dropout(branch, self.dropout) if self.training else branch)


class Transformer(nn.Module):
    """Map tokens to the logits of the token after each."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        ropes = [config.rope_of(layer) for layer in range(config.layers)]
        self.ropes = list(dict.fromkeys(ropes))
        self.rope_of_layer = [self.ropes.index(rope) for rope in ropes]
        self.positions = None if config.rope else nn.Embedding(config.context, config.width)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.layers))
        self.norm = norm(config, config.width)
        self.head: nn.Module | None = None
        if not config.tied:
            self.head = nn.Linear(config.width, config.vocab_out, bias=config.head_bias)

    @property
    def dtype(self) -> torch.dtype:
        """The type the network computes in; embeddings may be stored in another."""
        return next(self.norm.parameters()).dtype

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.embedding.weight.device

    def must_read_again(self, length: int) -> bool:
        """Return True if a sequence that grows to ``length`` tokens must be read anew, without its cache.

        A rope has other frequencies then, for all positions.
        """
        return any(isinstance(rope, Rope) and rope.changes_at(length) for rope in self.ropes)

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
        if self.config.embedding_scale != 1:
            x = x * self.config.embedding_scale
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
        else:
            out = F.linear(features, self.embedding.weight[: self.config.vocab_out])
        return self.adjusted(out)

    def adjusted(self, out: Tensor) -> Tensor:
        """Scale and cap what the head returned, as the config says."""
        config = self.config
        if config.logits_scale != 1:
            out = out * config.logits_scale
        if config.logits_softcap is not None:
            out = config.logits_softcap * torch.tanh(out / config.logits_softcap)
        return out

    def _attention_inputs(
        self, queries: Tensor, end: int, sees_all: bool, positions: Tensor, left_padding: Tensor | None
    ) -> AttentionInputs:
        rotations = [self._rotation(rope, positions) for rope in self.ropes]
        t = len(queries)
        keys = torch.arange(end, device=queries.device)
        # Kernels need no mask for one query that attends to all keys, nor for a causal square.
        has_kernel = self.config.attention_softcap is None and not self.config.attention_sinks
        needs_no_mask = left_padding is None and sees_all and (t == 1 or (t == end and has_kernel))
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
        return AttentionInputs([rotations[rope] for rope in self.rope_of_layer], masks, causal=t > 1)

    def _rotation(self, rope: Rope | GridRope | None, positions: Tensor) -> tuple[Tensor, Tensor] | None:
        if rope is None:
            return None
        cos, sin = rope.rotation(positions)
        return cos[:, None].to(self.dtype), sin[:, None].to(self.dtype)


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
            nn.init.normal_(module.down.get_parameter("weight"), std=residual_std)
    return transformer
