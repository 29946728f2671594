"""Training: find what stands under masks (Sahoo et al. 2024, arXiv:2406.07524, equation 10)."""

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

MASK = alphabet.SIZE


class Training:
    """One transformer that learns to fill in what is masked."""

    context = 64

    def __init__(self, data: TrainingData) -> None:
        config = Config(vocabulary=alphabet.SIZE + 1, context=self.context, causal=False)
        self.networks: Mapping[str, nn.Module] = {"transformer": Transformer(config)}

    def encode(self, text: str) -> Sequence[int]:
        """The tokens of a text, what the alphabet lacks left out, with the one that ends it."""
        return alphabet.encode_whole(text)

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step: −log p of each masked token, weighted by 1/t, in nats per token."""
        tokens = batch["tokens"][:, : self.context]
        t = torch.rand(len(tokens), 1, generator=random, device=tokens.device).clamp(min=0.01)
        masked = torch.rand(tokens.shape, generator=random, device=tokens.device) < t
        logits = networks["transformer"](tokens.masked_fill(masked, MASK))
        nats = F.cross_entropy(logits.mT.float(), tokens, reduction="none")
        yield Loss("transformer", (nats * masked / t).mean())

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the transformer into ``folder``, as zoo run reads it."""
        write(folder, networks["transformer"])
