"""Train an autoencoder on its evidence lower bound (Kingma & Welling 2014, equation 3)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, TrainingData, save_checkpoint

from . import alphabet
from .vae import Config, Decoder, Encoder, negative_elbo


class Training:
    """Encoder, decoder and their loss."""

    context = 64
    encode = staticmethod(alphabet.encode_training_text)

    def __init__(self, data: TrainingData) -> None:
        self.config = Config(shape=(self.context,), outputs=alphabet.SIZE)
        self.networks: Mapping[str, nn.Module] = {
            "autoencoder": nn.ModuleDict({"encoder": Encoder(self.config), "decoder": Decoder(self.config)})
        }

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the loss of a step: the negative lower bound of log p(text), in nats a text."""
        tokens = batch["tokens"][:, : self.context]
        encoder, decoder = networks["autoencoder"].children()
        mean, log_variance = encoder(F.one_hot(tokens, alphabet.SIZE).float())
        noise = torch.randn(mean.shape, generator=random, device=mean.device)
        logits = decoder(mean + (log_variance / 2).exp() * noise)  # (n, length, tokens)
        likelihood = -F.cross_entropy(logits.mT.float(), tokens, reduction="none").sum(1)
        yield Loss("autoencoder", negative_elbo(mean, log_variance, likelihood))

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the decoder into ``folder`` for zoo run."""
        _, decoder = networks["autoencoder"].children()
        save_checkpoint(folder, self.config, decoder, model_type="mymodel")
