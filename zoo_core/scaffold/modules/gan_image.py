"""Generate images from latents in one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from zoo_core import Batch, Checkpoint, Step, load_network, read_config, read_options

from .gan import Config, Generator


@dataclass(frozen=True)
class SamplingOptions:
    """Options of a run, as declared in zoo.toml."""

    truncation: float


class MyModel:
    """A GAN with loaded weights."""

    batch_size = 64

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> None:
        self.dtype = dtype or torch.float32
        source = checkpoint.source
        config = read_config(Config, checkpoint.json("config.json"), source, ignore=("model_type", "zoo"))
        tensors = checkpoint.tensors("model")
        self.network = load_network(lambda: Generator(config), tensors, source, self.dtype, device)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Generate the batch's images; all random numbers come from ``batch.noise``."""
        options = read_options(SamplingOptions, batch.options)
        z = batch.noise.normal(self.network.config.z_dim)  # (n, z_dim), row i from sample i's own stream
        images = self.network((options.truncation * z).to(self.dtype))
        yield Step(images=images.float())
