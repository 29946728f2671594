"""Generate images from noise by DDIM, step by step."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch

from zoo_core import Batch, Checkpoint, OptionError, Step, load_network, read_config, read_options

from .denoiser import Config, Denoiser, alpha_bar


@dataclass(frozen=True)
class SamplingOptions:
    """Options of a run, as declared in zoo.toml."""

    steps: int


class MyModel:
    """A diffusion model with loaded weights."""

    batch_size = 64

    def __init__(self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None) -> None:
        self.dtype = dtype or torch.float32
        source = checkpoint.source
        config = read_config(Config, checkpoint.json("config.json"), source, ignore=("model_type", "zoo"))
        tensors = checkpoint.tensors("model")
        self.network = load_network(lambda: Denoiser(config), tensors, source, self.dtype, device)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Generate the batch's images by DDIM (Song et al. 2021, arXiv:2010.02502, equation 12 with σ = 0).

        Raises:
            OptionError: ``steps`` is larger than the number of timesteps of the model.
        """
        config, steps = self.network.config, read_options(SamplingOptions, batch.options).steps
        if steps > config.timesteps:
            raise OptionError(f"--steps {steps}: the model has {config.timesteps} steps.", "Give fewer.")
        x = batch.noise.normal(config.channels, config.size, config.size)
        times = torch.linspace(config.timesteps, 0, steps + 1).round().long()
        alphas = alpha_bar(times, config.timesteps).float().to(x.device)
        alphas[-1] = 1
        for i in range(steps):
            t = times[i].to(x.device).expand(batch.n)
            v = self.network(x.to(self.dtype), t).float()
            x_0 = (alphas[i].sqrt() * x - (1 - alphas[i]).sqrt() * v).clamp(-1, 1)
            noise = (x - alphas[i].sqrt() * x_0) / (1 - alphas[i]).sqrt()
            x = alphas[i + 1].sqrt() * x_0 + (1 - alphas[i + 1]).sqrt() * noise
            yield Step(i + 1, steps, images=x_0)
