"""Generate texts by masked diffusion: start from masks and replace some of them in each step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

import torch

from zoo_core import Batch, Checkpoint, Step, load_network, read_config, read_options

from . import alphabet
from .transformer import Config, Transformer, sample_tokens

MASK = alphabet.SIZE
"""Token of a position that is not known yet."""


@dataclass(frozen=True)
class SamplingOptions:
    """Options of a run, as declared in zoo.toml."""

    steps: int


class MyModel:
    """A masked diffusion model with loaded weights (Sahoo et al. 2024, arXiv:2406.07524)."""

    batch_size = 64

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> None:
        self.dtype = dtype or torch.float32
        self.device = device
        source = checkpoint.source
        config = read_config(Config, checkpoint.json("config.json"), source, ignore=("model_type", "zoo"))
        tensors = checkpoint.tensors("model")
        self.network = load_network(lambda: Transformer(config), tensors, source, self.dtype, device)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Generate the batch's texts: with i steps left, each mask is replaced with probability 1/i."""
        length, steps = self.network.config.context, read_options(SamplingOptions, batch.options).steps
        tokens = torch.full((batch.n, length), MASK, device=self.device)
        for i in range(steps):
            when, which = batch.noise.uniform(2, length).unbind(1)  # (n, length) each
            sampled = sample_tokens(self.network(tokens)[..., :MASK].float(), which)
            replaced = (tokens == MASK) & (when < 1 / (steps - i))
            tokens = torch.where(replaced, sampled, tokens)
            texts = (alphabet.decode(takewhile(lambda token: token != MASK, row)) for row in tokens.tolist())
            yield Step(i + 1, steps, texts=tuple(texts))  # previews end at the first mask
