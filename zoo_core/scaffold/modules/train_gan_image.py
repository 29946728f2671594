"""Train a generator against a discriminator with non-saturating losses (Goodfellow et al. 2014)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, TrainingData, save_checkpoint

from .gan import Config, Discriminator, Generator


class Training:
    """Generator and discriminator; ``zoo train`` minimises their losses in turn."""

    betas = (0.0, 0.99)

    def __init__(self, data: TrainingData) -> None:
        channels, height, width = data.shape
        self.config = Config(size=width, channels=channels)
        if height != width or 4 * 2**self.config.upsamplings != width:
            raise OptionError(
                f"This network cannot learn images of {height}×{width}.", "Add --size 32 or 64."
            )
        self.networks: Mapping[str, nn.Module] = {
            "generator": Generator(self.config),
            "discriminator": Discriminator(self.config),
        }

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the discriminator's loss and, after its step, the generator's."""
        real = batch["images"]
        z = torch.randn(len(real), self.config.z_dim, generator=random, device=real.device)
        discriminator = networks["discriminator"]
        fake = networks["generator"](z)
        yield Loss(
            "discriminator",
            F.softplus(discriminator(fake.detach())).mean() + F.softplus(-discriminator(real)).mean(),
        )
        yield Loss("generator", F.softplus(-discriminator(fake)).mean())

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the generator into ``folder`` for zoo run."""
        save_checkpoint(folder, self.config, networks["generator"], model_type="mymodel")
