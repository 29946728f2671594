"""The generator of faces, and its latent space."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo_core import Batch, Checkpoint, Noise, Options, Step, load_network, read_config, read_options
from zoo_dcgan.network import Network, Shape


@dataclass(frozen=True)
class SamplingOptions:
    """The options in zoo.toml."""

    truncation: tuple[float, ...]


class DCGAN:
    """A DCGAN as a generator of the zoo.

    Args:
        checkpoint: config.json and model.safetensors.
        device: Where to compute.
        dtype: Type to compute in; None is float32.

    Raises:
        WeightsError: The config is not a DCGAN's, or the weights do not fit it.
    """

    batch_size = 64

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.dtype = dtype or torch.float32
        self.shape = read_config(
            Shape,
            checkpoint.json("config.json"),
            f"{checkpoint.source}: config.json",
            ignore=("model_type", "zoo"),
            remedy="Convert the checkpoint again: zoo convert weights.tar -o FOLDER",
        )
        # In evaluation mode: statistics of the batch itself would mix its samples.
        self.network = load_network(
            lambda: Network(self.shape), checkpoint.tensors("model"), checkpoint.source, self.dtype, device
        )

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Generate the images of a batch, in one step."""
        yield Step(images=self.synthesize(self.encode(batch), batch.options, batch.noise))

    def mapping(self, z: Tensor, **condition: Any) -> Tensor:
        """Return z (n, latent) itself: the latent space of a DCGAN is that of its noise."""
        return z

    def encode(self, batch: Batch) -> Tensor:
        """Return the latents of the batch's samples, (n, latent), scaled by ``truncation``."""
        options = read_options(SamplingOptions, batch.options)
        z = batch.noise.normal(self.shape.latent)
        return self.mapping(z) * torch.tensor(options.truncation, device=z.device)[:, None]

    def synthesize(self, latents: Tensor, options: Options, noise: Noise) -> Tensor:
        """Return the images of latents (n, latent): (n, c, h, w) in [-1, 1]."""
        images: Tensor = self.network(latents.to(self.dtype))
        return images.float()
