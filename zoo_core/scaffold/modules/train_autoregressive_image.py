"""Train the transformer to predict every pixel from those before it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, TrainingData, save_checkpoint

from .transformer import Config, Transformer

SIDE, LEVELS = 8, 16
"""Side and number of grey levels of the images that the transformer learns."""


class Training:
    """The transformer and its loss."""

    def __init__(self, data: TrainingData) -> None:
        self.config = Config(vocabulary=LEVELS + 1, context=SIDE**2, causal=True)
        self.networks: Mapping[str, nn.Module] = {"transformer": Transformer(self.config)}

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the loss of a step: the mean of −log p(pixel | previous pixels), in nats."""
        grey = F.adaptive_avg_pool2d(batch["images"].mean(1, keepdim=True), SIDE)
        pixels = ((grey + 1) / 2 * (LEVELS - 1)).round().long().flatten(1)  # (n, side · side)
        start = torch.full_like(pixels[:, :1], LEVELS)
        logits = networks["transformer"](torch.cat([start, pixels[:, :-1]], dim=1))
        yield Loss("transformer", F.cross_entropy(logits.flatten(0, 1).float(), pixels.flatten()))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the transformer into ``folder`` for zoo run."""
        save_checkpoint(folder, self.config, networks["transformer"], model_type="mymodel")
