"""Training: every token is predicted from those before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, TrainingData

from . import alphabet
from .checkpoint import write
from .transformer import Config, Transformer


class Training:
    """One transformer that learns how texts go on."""

    context = 128

    def __init__(self, data: TrainingData) -> None:
        config = Config(vocabulary=alphabet.SIZE, context=self.context, causal=True)
        self.networks: Mapping[str, nn.Module] = {"transformer": Transformer(config)}

    def encode(self, text: str) -> Sequence[int]:
        """The tokens of a text, what the alphabet lacks left out, with the one that ends it."""
        return alphabet.encode_whole(text)

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step: the mean of −log p(token | those before it), in nats."""
        logits = networks["transformer"](batch["tokens"][:, :-1])
        yield Loss("transformer", F.cross_entropy(logits.mT.float(), batch["tokens"][:, 1:]))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the transformer into ``folder``, as zoo run reads it."""
        write(folder, networks["transformer"])
