"""Generate points from noise by DDPM, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from zoo_core import Batch, Checkpoint, Step, load_network, read_config, read_options

from .point_denoiser import Config, PointDenoiser, betas


@dataclass(frozen=True)
class SamplingOptions:
    """Options of a run, as declared in zoo.toml."""

    count: int


class MyModel:
    """A diffusion model with loaded weights."""

    batch_size = 64

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> None:
        self.dtype = dtype or torch.float32
        source = checkpoint.source
        config = read_config(Config, checkpoint.json("config.json"), source, ignore=("model_type", "zoo"))
        tensors = checkpoint.tensors("model")
        self.network = load_network(lambda: PointDenoiser(config), tensors, source, self.dtype, device)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Generate the batch's points (Ho et al. 2020, Algorithm 2)."""
        count, config = read_options(SamplingOptions, batch.options).count, self.network.config
        beta = betas(config.timesteps).tolist()
        alpha_bar = (1 - betas(config.timesteps)).cumprod(0).tolist()
        x = batch.noise.normal(count, config.dimensions)
        for t in range(config.timesteps, 0, -1):
            noise = self.network(x.to(self.dtype), t).float()
            x = (x - beta[t] / (1 - alpha_bar[t]) ** 0.5 * noise) / (1 - beta[t]) ** 0.5
            if t > 1:
                x = x + beta[t] ** 0.5 * batch.noise.normal(count, config.dimensions)
            yield Step(config.timesteps - t + 1, config.timesteps, points=x)
