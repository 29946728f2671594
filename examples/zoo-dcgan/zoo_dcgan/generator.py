"""The generator of faces: one number per dimension of noise, one image."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from zoo_core import Batch, Checkpoint, Noise, Options, Step, load_weights
from zoo_dcgan.network import Network, Shape


class DCGAN:
    """A DCGAN ready to draw.

    Args:
        checkpoint: config.json and model.safetensors.
        device: Where to compute.
        dtype: Type to compute in; None is float32.

    Raises:
        WeightsError: The checkpoint holds no DCGAN.
    """

    batch_size = 64

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.dtype = dtype or torch.float32
        self.shape = Shape.read(checkpoint.json("config.json"), checkpoint.source)
        with torch.device("meta"):
            self.network = Network(self.shape)
        load_weights(self.network, checkpoint.tensors("model"), checkpoint.source, self.dtype, device)
        self.network.eval().requires_grad_(False)  # a batch's own statistics would mix its samples

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's images, in one step."""
        yield Step(images=self.synthesize(self.encode(batch), batch.options, batch.noise))

    def mapping(self, z: Tensor, **condition: Any) -> Tensor:
        """Noise (n, latent) is itself the place that an image is drawn at."""
        return z

    def encode(self, batch: Batch) -> Tensor:
        """Return the places of the batch's samples, (n, latent), scaled by ``truncation``."""
        z = batch.noise.normal(self.shape.latent)
        return self.mapping(z) * torch.tensor(batch.options.truncation, device=z.device)[:, None]

    def synthesize(self, latents: Tensor, options: Options, noise: Noise) -> Tensor:
        """Return the images at places (n, latent): (n, c, h, w) in [-1, 1]."""
        images: Tensor = self.network(latents.to(self.dtype))
        return images.float()
