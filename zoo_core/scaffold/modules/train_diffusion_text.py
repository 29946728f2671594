"""Train the transformer to predict masked tokens (Sahoo et al. 2024, arXiv:2406.07524, equation 10)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, TrainingData, save_checkpoint

from . import alphabet
from .transformer import Config, Transformer

MASK = alphabet.SIZE


class Training:
    """The transformer and its loss."""

    context = 64
    encode = staticmethod(alphabet.encode_training_text)

    def __init__(self, data: TrainingData) -> None:
        self.config = Config(vocabulary=alphabet.SIZE + 1, context=self.context, causal=False)
        self.networks: Mapping[str, nn.Module] = {"transformer": Transformer(self.config)}

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the loss of a step: −log p of each masked token, weighted by 1/t, in nats per token."""
        tokens = batch["tokens"][:, : self.context]
        t = torch.rand(len(tokens), 1, generator=random, device=tokens.device).clamp(min=0.01)
        masked = torch.rand(tokens.shape, generator=random, device=tokens.device) < t
        logits = networks["transformer"](tokens.masked_fill(masked, MASK))
        nats = F.cross_entropy(logits.mT.float(), tokens, reduction="none")
        yield Loss("transformer", (nats * masked / t).mean())

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the transformer into ``folder`` for zoo run."""
        save_checkpoint(folder, self.config, networks["transformer"], model_type="mymodel")
