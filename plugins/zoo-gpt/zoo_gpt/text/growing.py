"""A batch of texts while they grow: their sampler, and what each step tells."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from zoo_core import Step
from zoo_gpt.decoding.sampling import TokenSampler
from zoo_gpt.text.streaming import Answer


@dataclass
class GrowingTexts:
    """Texts that share a sampler."""

    prompts: Sequence[Sequence[int]]
    answers: Sequence[Answer]
    sampler: TokenSampler
    tell: Callable[[Tensor, Tensor], list[Mapping[str, Any]]] | None
    """Returns what is recorded of tokens (n,) that were drawn from logits (n, vocab); None: nothing."""
    _told: Sequence[Mapping[str, Any] | None] = ()

    @property
    def steps(self) -> int:
        """The most tokens that a text may get."""
        return max(answer.limit for answer in self.answers)

    def sample(self, logits: Tensor) -> Tensor:
        """Map the next token's logits (n, vocab) to tokens (n,) int64."""
        tokens = self.sampler(logits)
        self._told = self.tell(logits, tokens) if self.tell else [None] * len(self.answers)
        return tokens

    def push(self, index: int, tokens: Tensor) -> Step:
        """Add the tokens that were sampled last; return step ``index``, the last if all texts have ended."""
        for answer, token, told in zip(self.answers, tokens.tolist(), self._told, strict=True):
            answer.push(token, told)
        done = all(answer.ended for answer in self.answers)
        return Step(
            index,
            total=index if done else self.steps,
            texts=tuple(answer.shown for answer in self.answers),
            metadata=tuple(answer.metadata() for answer in self.answers),
        )
