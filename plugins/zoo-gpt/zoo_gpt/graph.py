"""A token's step as a CUDA graph: everything it reads and writes is in the same place and shape each time."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_core import CudaGraph
from zoo_gpt.transformer import Cache, Transformer


class FixedCache(Cache):
    """A cache whose steps all have one shape: how far it is filled is known on the device alone.

    Attention reads all the room there is, and a mask hides what is not filled yet.

    Args:
        cache: What is filled so far. Its memory is shared.
    """

    def __init__(self, cache: Cache) -> None:
        self.kv, self.layers, self.pads = cache.kv, cache.layers, cache.pads
        self.at = torch.tensor([cache.used], device=cache.kv.device)
        """(1,) int64, where the next token goes."""

    def next(self, t: int) -> tuple[Tensor, int, bool]:
        """Where the next token goes; what a layer returns ends with the room, and not all of it is seen."""
        if t != 1:
            raise ValueError(f"one token at a time, not {t}")
        return self.at, self.length, False

    def advance(self, t: int) -> None:
        """Count ``t`` more positions as filled."""
        self.at += t

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Write k and v (n, kv_heads, 1, head_dim) where the next token goes; return all of that layer."""
        keys, values = self.layers[layer]
        keys.index_copy_(2, self.at, k.to(keys.dtype))
        values.index_copy_(2, self.at, v.to(values.dtype))
        return keys, values


class GraphedStep:
    """Reads one token of every sequence, by replaying a graph.

    Args:
        transformer: On a CUDA device.
        cache: Has been read into, and has room for a few tokens more, which are read to warm up.
    """

    def __init__(self, transformer: Transformer, cache: Cache) -> None:
        fixed, device = FixedCache(cache), cache.kv.device
        self.tokens = torch.zeros(cache.kv.shape[2], 1, dtype=torch.int64, device=device)
        start = fixed.at.clone()
        self.graph = CudaGraph(lambda: transformer.next_logits(self.tokens, fixed), device)
        fixed.at.copy_(start)  # what was read to warm up is overwritten

    def __call__(self, tokens: Tensor) -> Tensor:
        """Map tokens (n, 1) int64 to logits (n, vocab_out) float32, which the next call overwrites."""
        self.tokens.copy_(tokens)
        return self.graph()
