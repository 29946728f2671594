"""The generator that zoo run runs: latents to images, by the decoder of an autoencoder."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from zoo_core import Batch, Checkpoint, Step

from .checkpoint import read
from .vae import Config, Decoder


class MyModel:
    """The decoder of a variational autoencoder, ready to draw.

    Args:
        checkpoint: ``config.json`` and ``model.safetensors``.
        device: Where to compute.
        dtype: The type to compute in; None is float32.
    """

    batch_size = 64

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.dtype = dtype or torch.float32
        self.network = read(checkpoint, Config, Decoder, device, self.dtype)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's images; all randomness comes from ``batch.noise``."""
        config = self.network.config
        z = batch.options.scale * batch.noise.normal(config.z_dim)  # (n, z_dim)
        pixels = torch.tanh(self.network(z.to(self.dtype)))  # (n, h · w, channels)
        yield Step(images=pixels.mT.reshape(batch.n, config.outputs, *config.shape).float())
