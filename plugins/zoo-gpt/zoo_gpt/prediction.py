"""What the next token may be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from zoo_gpt.tokens import Tokenizer


@dataclass(frozen=True)
class Prediction:
    """The distribution over the token that follows a prompt, and how likely the prompt's own were."""

    tokens: tuple[int, ...]
    """The prompt's, the one that begins a text included."""
    factors: Tensor
    """(len(tokens) − 1,) float32: log p of every token but the first given those before it, in nats."""
    log_probabilities: Tensor
    """(vocabulary,) float32: log p(· | tokens), in nats."""
    tokenizer: Tokenizer

    def top(self, k: int) -> list[tuple[int, str, float]]:
        """Return the k likeliest next tokens, each as (id, its text, its probability)."""
        values, ids = self.log_probabilities.topk(min(k, len(self.log_probabilities)))
        return self._told(ids.tolist(), values.exp().tolist())

    def chain(self) -> list[tuple[int, str, float]]:
        """Return the chain rule's factors: each token but the first as (id, its text, log p in nats)."""
        return self._told(self.tokens[1:], self.factors.tolist())

    def _told(self, tokens: Sequence[int], figures: Sequence[float]) -> list[tuple[int, str, float]]:
        return [(t, self.tokenizer.show(t), figure) for t, figure in zip(tokens, figures, strict=True)]
