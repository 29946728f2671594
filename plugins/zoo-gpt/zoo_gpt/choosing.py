"""Choose the next token of every sequence of a batch."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import torch
from torch import Tensor

from zoo_core import Noise
from zoo_gpt.sampling import distribution, draw

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
        self.seen = torch.zeros(len(prompts), vocab, dtype=torch.bool, device=noise.device)
        for row, prompt in zip(self.seen, prompts, strict=True):
            row[[token for token in prompt if token < vocab]] = True

    def __call__(self, logits: Tensor) -> Tensor:
        """Choose from logits (n, vocab)."""
        probabilities = distribution(logits, seen=self.seen, **self.cuts)
        if self.uniforms is None:
            tokens = probabilities.argmax(dim=1)
        else:
            tokens = draw(probabilities, self.uniforms[:, self.step])
        self.step += 1
        self.seen.scatter_(1, tokens[:, None], True)
        return tokens
