"""Training: tell image and noise apart at any strength (Ho et al. 2020, Algorithm 1, told as v)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, TrainingData

from .checkpoint import write
from .denoiser import Config, Denoiser, alpha_bar


class Training:
    """One network that learns to tell images from noise."""

    def __init__(self, data: TrainingData) -> None:
        channels, height, width = data.shape
        if height != width or width % 2:
            raise OptionError(
                f"Images of {height}×{width} do not suit this network.",
                "Add --size 16 or 32.",
            )
        self.config = Config(size=width, channels=channels)
        self.networks: Mapping[str, nn.Module] = {"denoiser": Denoiser(self.config)}

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step: the mean squared distance of the guess from v."""
        x_0 = batch["images"]
        t = torch.randint(1, self.config.timesteps + 1, (len(x_0),), generator=random, device=x_0.device)
        noise = torch.randn(x_0.shape, generator=random, device=x_0.device)
        left = alpha_bar(t, self.config.timesteps).to(x_0.dtype).view(-1, 1, 1, 1)
        guess = networks["denoiser"](left.sqrt() * x_0 + (1 - left).sqrt() * noise, t)
        yield Loss("denoiser", F.mse_loss(guess.float(), left.sqrt() * noise - (1 - left).sqrt() * x_0))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the network into ``folder``, as zoo run reads it."""
        write(folder, networks["denoiser"])
