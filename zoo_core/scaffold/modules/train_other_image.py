"""Train an autoencoder on its evidence lower bound (Kingma & Welling 2014, equation 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo_core import Loss, TrainingData, save_checkpoint

from .vae import Config, Decoder, Encoder, negative_elbo

SIGMA = 0.1
"""Standard deviation of a pixel, given the decoder's output."""


class Training:
    """Encoder, decoder and their loss."""

    def __init__(self, data: TrainingData) -> None:
        channels, height, width = data.shape
        self.config = Config(shape=(height, width), outputs=channels)
        self.networks: Mapping[str, nn.Module] = {
            "autoencoder": nn.ModuleDict({"encoder": Encoder(self.config), "decoder": Decoder(self.config)})
        }

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the loss of a step: the negative lower bound of log p(image), in nats an image."""
        pixels = batch["images"].flatten(2).mT  # (n, h · w, channels)
        encoder, decoder = networks["autoencoder"].children()
        mean, log_variance = encoder(pixels)
        noise = torch.randn(mean.shape, generator=random, device=mean.device)
        predicted = torch.tanh(decoder(mean + (log_variance / 2).exp() * noise))
        likelihood = -((predicted - pixels).float() / SIGMA).square().sum((1, 2)) / 2
        yield Loss("autoencoder", negative_elbo(mean, log_variance, likelihood))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the decoder into ``folder`` for zoo run."""
        _, decoder = networks["autoencoder"].children()
        save_checkpoint(folder, self.config, decoder, model_type="mymodel")
