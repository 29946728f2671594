"""A U-Net without a condition: unconditional latent diffusion."""

from __future__ import annotations

import torch
from torch import Tensor
from zoo_ddpm.checkpoint import current_names
from zoo_ddpm.sampling import Network
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

from zoo_core import Batch, Options, load_network
from zoo_latent.checkpoint import Parts, require_class
from zoo_latent.denoiser import Denoiser


class Unconditional(Denoiser):
    """A U-Net of zoo-ddpm over latents.

    Raises:
        WeightsError: The network is not supported, or its tensors do not fit.
    """

    def __init__(self, parts: Parts, device: torch.device, dtype: torch.dtype) -> None:
        part = parts.denoiser
        require_class(part, "UNet2DModel")
        config = UNetConfig.from_json(part.config, part.source)
        self.network = load_network(
            lambda: UNet(config), current_names(part.tensors()), part.source, dtype, device
        )
        self.config, self.dtype = config, dtype
        self.in_channels = self.channels = config.in_channels

    def latent_size(self, options: Options, factor: int, given: tuple[int, int] | None) -> tuple[int, int]:
        """Return the size that the network was trained on."""
        return self.config.image_size

    def bind(self, batch: Batch, image_size: tuple[int, int], beside: Tensor | None) -> Network:
        """Return the network."""
        return lambda x, t: self.network(x.to(self.dtype), t).float()
