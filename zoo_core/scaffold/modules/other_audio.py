"""Generate sounds from latents in one step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from zoo_core import Batch, Checkpoint, Step, load_network, read_config, read_options

from .harmonics import Config, Harmonics


@dataclass(frozen=True)
class SamplingOptions:
    """Options of a run, as declared in zoo.toml."""

    scale: float


class MyModel:
    """A synthesizer with loaded weights."""

    batch_size = 16

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> None:
        self.dtype = dtype or torch.float32
        source = checkpoint.source
        config = read_config(Config, checkpoint.json("config.json"), source, ignore=("model_type", "zoo"))
        tensors = checkpoint.tensors("model")
        self.network = load_network(lambda: Harmonics(config), tensors, source, self.dtype, device)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Generate the batch's sounds; all random numbers come from ``batch.noise``."""
        options, config = read_options(SamplingOptions, batch.options), self.network.config
        z = options.scale * batch.noise.normal(config.z_dim)  # (n, z_dim)
        yield Step(audio=self.network(z.to(self.dtype)), rate=config.rate)
