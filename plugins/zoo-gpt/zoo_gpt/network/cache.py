"""The cache of keys and values: each new token attends to those read before it."""

from __future__ import annotations

import torch
from torch import Tensor

from zoo_gpt.network.config import TransformerConfig


class KVCache:
    """Keys and values of the positions read so far, in memory allocated once.

    Args:
        config: The network's.
        n: Number of sequences.
        capacity: Number of positions to allocate.
        device: Device of the network.
        dtype: The network's type or a wider one. Attention is computed in it.
        left_padding: (n,) int64, the number of padding positions at the start of each sequence; None: none.
    """

    def __init__(
        self,
        config: TransformerConfig,
        n: int,
        capacity: int,
        device: torch.device,
        dtype: torch.dtype,
        left_padding: Tensor | None = None,
    ) -> None:
        shape = (config.layers, 2, n, config.kv_heads, capacity, config.head_dim)
        self.kv = torch.zeros(shape, device=device, dtype=dtype)
        self.layers = [(self.kv[layer, 0], self.kv[layer, 1]) for layer in range(config.layers)]
        """Views of ``kv``: keys and values of each layer, (n, kv_heads, capacity, head_dim)."""
        self.left_padding = left_padding
        self.length = 0
        """Number of positions filled."""

    @property
    def capacity(self) -> int:
        """Number of positions allocated."""
        return self.kv.shape[4]

    def next_positions(self, t: int) -> tuple[Tensor, int, bool]:
        """Return where ``t`` more tokens go.

        Returns:
            (positions (t,) int64, length of the keys :meth:`update` returns, True if the last query attends
            to all of them).
        """
        end = self.length + t
        return torch.arange(self.length, end, device=self.kv.device), end, True

    def advance(self, t: int) -> None:
        """Count ``t`` more positions as filled; call it after every layer's update."""
        self.length += t

    def update(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Append k and v (n, kv_heads, t, head_dim) to a layer; return all its keys and values."""
        keys, values = self.layers[layer]
        t = k.shape[2]
        keys.narrow(2, self.length, t).copy_(k)
        values.narrow(2, self.length, t).copy_(v)
        end = self.length + t
        return keys.narrow(2, 0, end), values.narrow(2, 0, end)
