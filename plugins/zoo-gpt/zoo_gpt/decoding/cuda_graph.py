"""One decoding step as a CUDA graph: every step reads and writes the same memory in the same shapes."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core import CudaGraph
from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.transformer import Transformer


class StaticKVCache(KVCache):
    """A cache whose steps all have one shape: its length is known on the device alone.

    Attention reads the whole capacity, and a mask hides the part that is not filled yet.

    Args:
        cache: The positions filled so far. Its memory is shared.
    """

    def __init__(self, cache: KVCache) -> None:
        self.kv, self.layers, self.left_padding = cache.kv, cache.layers, cache.left_padding
        self.position = torch.tensor([cache.length], device=cache.kv.device)
        """(1,) int64, the position of the next token."""

    def next_positions(self, t: int) -> tuple[Tensor, int, bool]:
        """Return the position of the next token, the capacity, and False: it does not attend to all keys."""
        if t != 1:
            raise ValueError(f"a StaticKVCache takes one token at a time, not {t}")
        return self.position, self.capacity, False

    def advance(self, t: int) -> None:
        """Count ``t`` more positions as filled."""
        self.position += t

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v (n, kv_heads, 1, head_dim) at the next position; return all keys and values."""
        keys, values = self.layers[layer]
        keys.index_copy_(2, self.position, k.to(keys.dtype))
        values.index_copy_(2, self.position, v.to(values.dtype))
        return keys, values


class GraphedStep:
    """Read one token of every sequence by replaying a CUDA graph.

    Args:
        transformer: The network, on a CUDA device.
        cache: Holds the prompts and has room for a few tokens more, which the warm-up reads.
    """

    def __init__(self, transformer: Transformer, cache: KVCache) -> None:
        static, device = StaticKVCache(cache), cache.kv.device
        self.tokens = torch.zeros(cache.kv.shape[2], 1, dtype=torch.int64, device=device)
        start = static.position.clone()
        self.graph = CudaGraph(lambda: transformer.next_logits(self.tokens, static), device)
        static.position.copy_(start)  # the warm-up's positions will be overwritten

    def __call__(self, tokens: Tensor) -> Tensor:
        """Map tokens (n, 1) int64 to logits (n, vocab_out) float32, which the next call overwrites."""
        self.tokens.copy_(tokens)
        return self.graph()
