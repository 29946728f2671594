"""The distribution over the next token."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from zoo_gpt.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class Prediction:
    """The distribution over the token that follows a prompt, and the likelihood of the prompt itself."""

    tokens: tuple[int, ...]
    """The prompt's tokens, the one that begins a text included."""
    factors: Tensor
    """(len(tokens) − 1,) float32: log p of every token but the first given those before it, in nats."""
    log_probabilities: Tensor
    """(vocabulary,) float32: log p(· | tokens), in nats."""
    tokenizer: Tokenizer

    def top(self, k: int) -> list[tuple[int, str, float]]:
        """Return the k likeliest next tokens, each as (id, its text, its probability)."""
        values, ids = self.log_probabilities.topk(min(k, len(self.log_probabilities)))
        return self._rows(ids.tolist(), values.exp().tolist())

    def chain(self) -> list[tuple[int, str, float]]:
        """Return the chain rule's factors: each token but the first as (id, its text, log p in nats)."""
        return self._rows(self.tokens[1:], self.factors.tolist())

    def _rows(self, tokens: Sequence[int], figures: Sequence[float]) -> list[tuple[int, str, float]]:
        return [(t, self.tokenizer.show(t), figure) for t, figure in zip(tokens, figures, strict=True)]
