"""What the next token may be."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from zoo_gpt.tokens import Tokenizer


@dataclass(frozen=True)
class Prediction:
    """The distribution over the token that follows a prompt, and over each of the prompt's own."""

    tokens: tuple[int, ...]
    """The prompt's, the one that begins a text included."""
    log_probabilities: Tensor
    """(len(tokens), vocabulary) float32: row i is log p(· | tokens[: i + 1]), in nats."""
    tokenizer: Tokenizer

    def top(self, k: int) -> list[tuple[int, str, float]]:
        """Return the k likeliest next tokens, each as (id, its text, its probability)."""
        values, ids = self.log_probabilities[-1].topk(min(k, self.log_probabilities.shape[1]))
        return [
            (token, self.tokenizer.show(token), value)
            for token, value in zip(ids.tolist(), values.exp().tolist(), strict=True)
        ]

    def chain(self) -> list[tuple[int, str, float]]:
        """Return the chain rule's factors: each token but the first as (id, its text, log p in nats)."""
        following = self.tokens[1:]
        return [
            (token, self.tokenizer.show(token), float(self.log_probabilities[place, token]))
            for place, token in enumerate(following)
        ]
