"""The generator that zoo run runs: noise to an image, a little cleaner at each step."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from zoo_core import Batch, Checkpoint, OptionError, Step

from .checkpoint import read
from .denoiser import Config, Denoiser, alpha_bar


class MyModel:
    """A diffusion model ready to draw.

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
        self.network = read(checkpoint, Config, Denoiser, device, self.dtype)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's images by DDIM (Song et al. 2021, arXiv:2010.02502, equation 12 with σ = 0).

        Raises:
            OptionError: More steps than the model has.
        """
        config, steps = self.network.config, batch.options.steps
        if steps > config.timesteps:
            raise OptionError(f"--steps {steps}: the model has {config.timesteps}.", "Give fewer.")
        x = batch.noise.normal(config.channels, config.size, config.size)
        times = torch.linspace(config.timesteps, 0, steps + 1).round().long()
        left = alpha_bar(times, config.timesteps).float().to(x.device)
        left[-1] = 1
        for i in range(steps):
            t = times[i].to(x.device).expand(batch.n)
            v = self.network(x.to(self.dtype), t).float()
            x_0 = (left[i].sqrt() * x - (1 - left[i]).sqrt() * v).clamp(-1, 1)
            noise = (x - left[i].sqrt() * x_0) / (1 - left[i]).sqrt()
            x = left[i + 1].sqrt() * x_0 + (1 - left[i + 1]).sqrt() * noise
            yield Step(i + 1, steps, images=x_0)
