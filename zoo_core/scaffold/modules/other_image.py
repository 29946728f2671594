"""Generate images from latents with the decoder of an autoencoder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from zoo_core import Batch, Checkpoint, Step, load_network, read_config, read_options

from .vae import Config, Decoder


@dataclass(frozen=True)
class SamplingOptions:
    """Options of a run, as declared in zoo.toml."""

    scale: float


class MyModel:
    """The decoder of a variational autoencoder with loaded weights."""

    batch_size = 64

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> None:
        self.dtype = dtype or torch.float32
        source = checkpoint.source
        config = read_config(Config, checkpoint.json("config.json"), source, ignore=("model_type", "zoo"))
        tensors = checkpoint.tensors("model")
        self.network = load_network(lambda: Decoder(config), tensors, source, self.dtype, device)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Generate the batch's images; all random numbers come from ``batch.noise``."""
        options, config = read_options(SamplingOptions, batch.options), self.network.config
        z = options.scale * batch.noise.normal(config.z_dim)  # (n, z_dim)
        pixels = torch.tanh(self.network(z.to(self.dtype)))  # (n, h · w, channels)
        yield Step(images=pixels.mT.reshape(batch.n, config.outputs, *config.shape).float())
