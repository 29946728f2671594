"""The generator that zoo run runs: latents to texts, by the decoder of an autoencoder."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from zoo_core import Batch, Checkpoint, Step

from . import alphabet
from .checkpoint import read
from .vae import Config, Decoder


class MyModel:
    """The decoder of a variational autoencoder, ready to write.

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
        """Write the batch's texts; all randomness comes from ``batch.noise``."""
        z = batch.options.scale * batch.noise.normal(self.network.config.z_dim)  # (n, z_dim)
        tokens = self.network(z.to(self.dtype)).argmax(-1)  # the likeliest at every place: (n, length)
        yield Step(texts=tuple(map(alphabet.decode, tokens.tolist())))
