"""The generator that zoo run runs: a text all of masks, some more of which are replaced at each step."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import takewhile

import torch

from zoo_core import Batch, Checkpoint, Step

from . import alphabet
from .checkpoint import read
from .transformer import Config, Transformer, draw

MASK = alphabet.SIZE
"""The token that stands for one that is not known yet."""


class MyModel:
    """A masked diffusion model of texts, ready to write (Sahoo et al. 2024, arXiv:2406.07524).

    Args:
        checkpoint: ``config.json`` and ``model.safetensors``.
        device: Where to compute.
        dtype: The type to compute in; None is float32.
    """

    batch_size = 64

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.dtype = dtype or torch.float32
        self.device = device
        self.network = read(checkpoint, Config, Transformer, device, self.dtype)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Write the batch's texts: at time t every mask is replaced by a token with probability 1/t."""
        length, steps = self.network.config.context, batch.options.steps
        tokens = torch.full((batch.n, length), MASK, device=self.device)
        for i in range(steps):
            when, which = batch.noise.uniform(2, length).unbind(1)  # (n, length) each
            drawn = draw(self.network(tokens)[..., :MASK].float(), which)
            replaced = (tokens == MASK) & (when < 1 / (steps - i))
            tokens = torch.where(replaced, drawn, tokens)
            yield Step(i + 1, steps, texts=tuple(map(_beginning, tokens.tolist())))


def _beginning(tokens: list[int]) -> str:
    """The text as far as it is certain: up to its end, or to the first mask."""
    return alphabet.decode(takewhile(lambda token: token != MASK, tokens))
