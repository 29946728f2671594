"""Training: every pixel is predicted from those before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, TrainingData

from .checkpoint import write
from .transformer import Config, Transformer

SIDE, LEVELS = 8, 16
"""Images are made grey and so small that each is a short text of so many levels."""


class Training:
    """One transformer that learns how images go on."""

    def __init__(self, data: TrainingData) -> None:
        config = Config(vocabulary=LEVELS + 1, context=SIDE**2, causal=True)
        self.networks: Mapping[str, nn.Module] = {"transformer": Transformer(config)}

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step: the mean of −log p(pixel | those before it), in nats."""
        grey = F.adaptive_avg_pool2d(batch["images"].mean(1, keepdim=True), SIDE)
        pixels = ((grey + 1) / 2 * (LEVELS - 1)).round().long().flatten(1)  # (n, side · side)
        start = torch.full_like(pixels[:, :1], LEVELS)
        logits = networks["transformer"](torch.cat([start, pixels[:, :-1]], dim=1))
        yield Loss("transformer", F.cross_entropy(logits.flatten(0, 1).float(), pixels.flatten()))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the transformer into ``folder``, as zoo run reads it."""
        write(folder, networks["transformer"])
