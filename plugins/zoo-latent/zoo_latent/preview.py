"""Previews: a linear map from latents to colours."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from zoo_latent.checkpoint import Autoencoder

SAMPLES, SIDE = 4, 8


class LinearPreview:
    """The affine map of one latent to the mean colour of its pixels that fits a decoder best.

    It is fitted by least squares to a few small random latents, when it is first used: a preview then costs
    nothing beside a step.
    """

    def __init__(self, autoencoder: Autoencoder, device: torch.device, dtype: torch.dtype) -> None:
        self.autoencoder, self.device, self.dtype = autoencoder, device, dtype
        self._map: tuple[Tensor, Tensor] | None = None

    def __call__(self, latents: Tensor) -> Tensor:
        """Map latents (n, c, h, w) to images (n, 3, factor·h, factor·w) in [-1, 1]."""
        if self._map is None:
            self._map = self._fit()
        weight, bias = (part.to(latents) for part in self._map)
        colours = torch.einsum("nchw,cd->ndhw", latents, weight) + bias[:, None, None]
        factor = self.autoencoder.config.factor
        return F.interpolate(colours.clamp(-1, 1), scale_factor=factor, mode="nearest")

    def _fit(self) -> tuple[Tensor, Tensor]:
        config, random = self.autoencoder.config, torch.Generator().manual_seed(0)
        latents = torch.randn(SAMPLES, config.channels, SIDE, SIDE, generator=random)
        images = self.autoencoder.decode(latents.to(self.device, self.dtype)).float().cpu()
        colours = F.avg_pool2d(images, config.factor).permute(0, 2, 3, 1).flatten(0, 2)  # (pixels, 3)
        rows = latents.permute(0, 2, 3, 1).flatten(0, 2)  # (pixels, c)
        rows = torch.cat([rows, torch.ones(len(rows), 1)], dim=1)
        # The smallest solution; torch.linalg.lstsq would not say so of the CPU's default driver.
        solution = torch.linalg.pinv(rows) @ colours
        return solution[:-1], solution[-1]
