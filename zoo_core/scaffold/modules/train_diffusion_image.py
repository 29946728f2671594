"""Train the denoiser to predict v at random times (Ho et al. 2020, Algorithm 1)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, TrainingData, save_checkpoint

from .denoiser import Config, Denoiser, alpha_bar


class Training:
    """The denoiser and its loss."""

    def __init__(self, data: TrainingData) -> None:
        channels, height, width = data.shape
        if height != width or width % 2:
            raise OptionError(
                f"This network cannot learn images of {height}×{width}.", "Add --size 16 or 32."
            )
        self.config = Config(size=width, channels=channels)
        self.networks: Mapping[str, nn.Module] = {"denoiser": Denoiser(self.config)}

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the loss of a step: the mean squared error of the predicted v."""
        x_0 = batch["images"]
        t = torch.randint(1, self.config.timesteps + 1, (len(x_0),), generator=random, device=x_0.device)
        noise = torch.randn(x_0.shape, generator=random, device=x_0.device)
        alphas = alpha_bar(t, self.config.timesteps).to(x_0.dtype).view(-1, 1, 1, 1)
        predicted = networks["denoiser"](alphas.sqrt() * x_0 + (1 - alphas).sqrt() * noise, t)
        v = alphas.sqrt() * noise - (1 - alphas).sqrt() * x_0
        yield Loss("denoiser", F.mse_loss(predicted.float(), v))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the network into ``folder`` for zoo run."""
        save_checkpoint(folder, self.config, networks["denoiser"], model_type="mymodel")
