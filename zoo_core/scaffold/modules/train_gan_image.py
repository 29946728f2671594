"""Training: generator against discriminator, with losses that do not saturate (Goodfellow et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, TrainingData

from .checkpoint import write
from .gan import Config, Discriminator, Generator


class Training:
    """Two networks that learn from each other; ``zoo train`` descends their losses in turn."""

    betas = (0.0, 0.99)

    def __init__(self, data: TrainingData) -> None:
        channels, height, width = data.shape
        config = Config(size=width, channels=channels)
        if height != width or 4 * 2**config.doublings != width:
            raise OptionError(
                f"Images of {height}×{width} do not suit this network.",
                "Add --size 32 or 64.",
            )
        self.config = config
        self.networks: Mapping[str, nn.Module] = {
            "generator": Generator(config),
            "discriminator": Discriminator(config),
        }

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the discriminator's loss, and once it has taken its step, the generator's."""
        real = batch["images"]
        z = torch.randn(len(real), self.config.z_dim, generator=random, device=real.device)
        judge = networks["discriminator"]
        fake = networks["generator"](z)
        yield Loss("discriminator", F.softplus(judge(fake.detach())).mean() + F.softplus(-judge(real)).mean())
        yield Loss("generator", F.softplus(-judge(fake)).mean())

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the generator into ``folder``, as zoo run reads it."""
        write(folder, networks["generator"])
