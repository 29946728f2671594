"""Choose the next token of every sequence of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor

from zoo_core import Noise
from zoo_gpt.sampling import distribution, draw, penalise_repetition

CUTS = ("temperature", "top_k", "top_p", "min_p", "repetition_penalty")
"""Options that shape the distribution; not every model has all of them."""


class Chooser:
    """Draws each sequence's next token by one uniform number of its own stream."""

    def __init__(
        self,
        options: SimpleNamespace,
        prompts: Sequence[Sequence[int]],
        noise: Noise,
        vocab: int,
        steps: int,
    ) -> None:
        given = vars(options)
        self.cuts = {name: given[name] for name in CUTS if given.get(name) is not None}
        self.uniforms = None if options.temperature == 0 else noise.uniform(steps)
        self.step = 0
        self.seen: Tensor | None = None
        if self.cuts.get("repetition_penalty", 1) != 1:
            self.seen = torch.zeros(len(prompts), vocab, dtype=torch.bool, device=noise.device)
            for row, prompt in zip(self.seen, prompts, strict=True):
                row[[token for token in prompt if token < vocab]] = True

    def __call__(self, logits: Tensor) -> Tensor:
        """Choose from logits (n, vocab)."""
        if self.uniforms is None:
            tokens = self._best(logits)
        else:
            probabilities = distribution(logits, seen=self.seen, **self.cuts)
            tokens = draw(probabilities, self.uniforms[:, self.step])
        self.step += 1
        if self.seen is not None:
            self.seen.scatter_(1, tokens[:, None], True)
        return tokens

    def _best(self, logits: Tensor) -> Tensor:
        """The likeliest tokens: of all that may shape a distribution, only the penalty can change them."""
        if self.seen is not None:
            logits = penalise_repetition(logits, self.seen, self.cuts["repetition_penalty"])
        return logits.argmax(dim=1)
