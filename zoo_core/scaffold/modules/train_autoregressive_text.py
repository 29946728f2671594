"""Train the transformer to predict every token from those before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, TrainingData, save_checkpoint

from . import alphabet
from .transformer import Config, Transformer


class Training:
    """The transformer and its loss."""

    context = 128
    encode = staticmethod(alphabet.encode_training_text)

    def __init__(self, data: TrainingData) -> None:
        self.config = Config(vocabulary=alphabet.SIZE, context=self.context, causal=True)
        self.networks: Mapping[str, nn.Module] = {"transformer": Transformer(self.config)}

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the loss of a step: the mean of −log p(token | previous tokens), in nats."""
        logits = networks["transformer"](batch["tokens"][:, :-1])
        yield Loss("transformer", F.cross_entropy(logits.mT.float(), batch["tokens"][:, 1:]))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the transformer into ``folder`` for zoo run."""
        save_checkpoint(folder, self.config, networks["transformer"], model_type="mymodel")
