"""The generator that zoo run runs: latents to images in one step."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from zoo_core import Batch, Checkpoint, Step

from .checkpoint import read
from .gan import Config, Generator


class MyModel:
    """A GAN ready to draw.

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
        self.network = read(checkpoint, Config, Generator, device, self.dtype)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's images; all randomness comes from ``batch.noise``."""
        z = batch.noise.normal(self.network.config.z_dim)  # (n, z_dim), row i from sample i's own stream
        images = self.network((batch.options.truncation * z).to(self.dtype))
        yield Step(images=images.float())
