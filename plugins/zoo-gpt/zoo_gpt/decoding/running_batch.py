"""Sequences that grow together, of which each joins and leaves at any token: continuous batching.

Orca (Yu et al. 2022, OSDI) calls it iteration-level scheduling. All sequences end at one position of the
cache; a shorter one has more room on its left, which nothing attends to.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from zoo_gpt.decoding.decode import cache_dtype, require_numbers
from zoo_gpt.network.cache import KVCache
from zoo_gpt.network.transformer import Transformer

ROOM = 64
"""Positions that are unused on the left of all sequences before they are moved there."""


class _Rows(KVCache):
    """The keys and values of the sequences that are there now, views of memory that has place for more."""

    def __init__(self, kv: Tensor, length: int, lengths: Sequence[int]) -> None:
        self.kv = kv[:, :, : len(lengths)]
        self.layers = [(layer[0], layer[1]) for layer in self.kv]
        padding = [length - each for each in lengths]
        self.left_padding = torch.tensor(padding, device=kv.device) if any(padding) else None
        self.length = length


class RunningSequences:
    """The cache of a running batch.

    Args:
        transformer: The network.
    """

    def __init__(self, transformer: Transformer) -> None:
        self.transformer = transformer
        self.tokens: list[list[int]] = []
        """The tokens of each sequence, a row of the cache."""
        self._filled: list[int] = []
        """Positions that each sequence fills: one for each token that has been read."""
        self._end = 0
        """Where every sequence ends."""
        self._kv = self._memory(0, 0)

    def join(self, prompt: Sequence[int]) -> Tensor:
        """Read a prompt and add its sequence as the last row; return its next token's logits, (1, vocab_out).

        Raises:
            WeightsError: The network computes NaN; the prompt has not joined.
        """
        logits, kv = self._read(prompt)
        require_numbers(logits)
        self._make_room(len(self.tokens) + 1, max(self._end, len(prompt)))
        self.tokens.append(list(prompt))
        self._filled.append(len(prompt))
        self._fill(len(self.tokens) - 1, kv)
        return logits

    def append(self, tokens: Tensor) -> None:
        """Add a token (n,) to the sequences, which :meth:`next_logits` will read."""
        for sequence, token in zip(self.tokens, tokens.tolist(), strict=True):
            sequence.append(token)

    def next_logits(self) -> Tensor:
        """Read the last token of every sequence; return the next one's logits, (n, vocab_out) float32."""
        longest = max(self._filled)
        self._make_room(len(self.tokens), longest if self._end - longest >= ROOM else self._end, more=1)
        cache = _Rows(self._kv, self._end, self._filled)
        last = torch.tensor([tokens[-1:] for tokens in self.tokens], device=self._kv.device)
        logits = self.transformer.next_logits(last, cache)
        self._end = cache.length
        self._filled = [filled + 1 for filled in self._filled]
        for row, tokens in enumerate(self.tokens):
            if self.transformer.must_read_again(len(tokens)):
                logits[row : row + 1], kv = self._read(tokens)
                self._fill(row, kv)
        return logits

    def leave(self, row: int) -> None:
        """Remove a sequence; the last one takes its row."""
        last = len(self.tokens) - 1
        if row != last:
            self._kv[:, :, row] = self._kv[:, :, last]
            self.tokens[row], self._filled[row] = self.tokens[last], self._filled[last]
        self.tokens.pop()
        self._filled.pop()
        if not self.tokens:
            # What a text finds does not depend on those before it, and an idle server gives its memory back.
            self._kv, self._end = self._memory(0, 0), 0

    def _read(self, tokens: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Read a sequence alone; return its next token's logits, and its keys and values."""
        cache = KVCache(
            self.transformer.config, 1, len(tokens), self._kv.device, cache_dtype(self.transformer)
        )
        logits = self.transformer.next_logits(torch.tensor([tokens], device=self._kv.device), cache)
        return logits, cache.kv[:, :, 0]

    def _fill(self, row: int, kv: Tensor) -> None:
        """Write the keys and values of a row (layers, 2, kv_heads, length, head_dim)."""
        self._kv[:, :, row, :, self._end - kv.shape[3] : self._end] = kv

    def _make_room(self, rows: int, end: int, more: int = 0) -> None:
        """Have the sequences end at ``end``, with memory for so many rows and ``more`` positions after it."""
        _, _, has_rows, _, has_positions, _ = self._kv.shape
        grows = rows > has_rows or end + more > has_positions
        if end == self._end and not grows:
            return
        there, longest = len(self.tokens), max(self._filled, default=0)
        held = self._kv[:, :, :there, :, self._end - longest : self._end]
        if grows:
            # Twice as much each time: a batch that grows is moved a few times only.
            self._kv = self._memory(
                max(rows, has_rows if rows <= has_rows else 2 * has_rows),
                max(end + more, has_positions if end + more <= has_positions else 2 * has_positions),
            )
        else:
            held = held.clone()  # the two places may overlap
        self._kv[:, :, :there, :, end - longest : end] = held
        self._end = end

    def _memory(self, rows: int, positions: int) -> Tensor:
        config, dtype = self.transformer.config, cache_dtype(self.transformer)
        shape = (config.layers, 2, rows, config.kv_heads, positions, config.head_dim)
        return torch.zeros(shape, device=self.transformer.device, dtype=dtype)
