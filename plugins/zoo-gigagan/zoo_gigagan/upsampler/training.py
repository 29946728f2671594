"""Training the upsampler against a discriminator that also sees the low-resolution image.

Kang et al. 2023, arXiv:2303.05511, section 3.5: a non-saturating loss and a reconstruction loss. Here the
latter is an L1 distance, and a second one keeps the downsampled output close to the input.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, Options, TrainingData, read_options, save_checkpoint
from zoo_gigagan.discriminator import Discriminator, DiscriminatorConfig, DiscriminatorInTraining, r1_penalty
from zoo_gigagan.resolutions import MAX_LEVELS, read_channels, resolutions
from zoo_gigagan.upsampler.network import FACTOR, MODEL_TYPE, StyleNetworkConfig, Upsampler, UpsamplerConfig
from zoo_gigagan.upsampler.upscaler import NOISE_STD


@dataclass(frozen=True)
class TrainingOptions:
    """Options of ``zoo train gigagan-upsampler``, as zoo.toml declares them."""

    channels: int
    blocks: int
    kernels: int
    z_dim: int
    w_dim: int
    discriminator_channels: str | None
    r1: float
    r1_every: int
    nearness: float
    consistency: float
    weights: str


class UpsamplerTrainable:
    """An upsampler and a discriminator to train against each other."""

    betas = (0.0, 0.99)
    """Adam's, for both networks."""

    def __init__(
        self, config: UpsamplerConfig, discriminator: DiscriminatorConfig, options: TrainingOptions
    ) -> None:
        self.networks: Mapping[str, nn.Module] = {
            "generator": UpsamplerInTraining(Upsampler(config)),
            "discriminator": DiscriminatorInTraining(Discriminator(discriminator)),
        }
        self.config, self.options = config, options

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the discriminator's loss, then the generator's against the updated discriminator.

        ``batch`` has ``images`` (n, 3, h, w) in [-1, 1].
        """
        generator, discriminator = networks["generator"], networks["discriminator"]
        real = batch["images"]
        small = F.avg_pool2d(real, FACTOR)
        state = self.networks["discriminator"]
        assert isinstance(state, DiscriminatorInTraining)
        r1_due = state.is_due(self.options.r1_every) and self.options.r1 > 0

        with torch.no_grad():
            fake = generator(*self._draw(small, random))
        pair = concatenate(real, small).requires_grad_(r1_due)
        (fake_logits,), (real_logits,) = discriminator([concatenate(fake, small)]), discriminator([pair])
        value = F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()
        metrics = {
            "discriminator loss": value.detach(),
            "D(x)": real_logits.detach().sigmoid().mean(),
            "D(G(z))": fake_logits.detach().sigmoid().mean(),
        }
        if r1_due:
            penalty = r1_penalty(real_logits, pair)
            metrics["R1 penalty"] = penalty.detach()
            value = value + penalty * (self.options.r1 / 2 * self.options.r1_every)
        yield Loss("discriminator", value, metrics)

        images = generator(*self._draw(small, random))
        (logits,) = discriminator([concatenate(images, small)])
        value = F.softplus(-logits).mean()
        reconstruction = F.l1_loss(images, real)
        consistency = F.l1_loss(F.avg_pool2d(images, FACTOR), small)
        metrics = {
            "generator loss": value.detach(),
            "reconstruction loss": reconstruction.detach(),
            "consistency loss": consistency.detach(),
        }
        value = value + reconstruction * self.options.nearness + consistency * self.options.consistency
        yield Loss("generator", value, metrics)

    def _draw(self, small: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw z, and add noise to the low-resolution images."""
        z_dim = self.config.style_network.dim_in
        z = torch.randn(len(small), z_dim, generator=random, device=small.device)
        noise = torch.randn(small.shape, generator=random, device=small.device)
        return small + 2 * NOISE_STD * noise, z  # the range is 2 here, and 1 in the network

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the upsampler into ``folder`` as a checkpoint."""
        generator = networks["generator"]
        assert isinstance(generator, UpsamplerInTraining)
        dtype = getattr(torch, self.options.weights)
        save_checkpoint(folder, self.config, generator.network, dtype, model_type=MODEL_TYPE)


class UpsamplerInTraining(nn.Module):
    """The upsampler for images in [-1, 1]."""

    def __init__(self, network: Upsampler) -> None:
        super().__init__()
        self.network = network

    def forward(self, small: Tensor, z: Tensor) -> Tensor:
        """Map images (n, 3, s, s) and noise (n, d) to images (n, 3, 4s, 4s), about in [-1, 1]."""
        kernels = self.network.kernels(self.network.style_network(z))
        large: Tensor = self.network((small + 1) / 2, kernels)
        return large * 2 - 1


def concatenate(large: Tensor, small: Tensor) -> Tensor:
    """Return images (n, 3, h, w) with the low-resolution ones, upsampled, as three more channels."""
    return torch.cat([large, F.interpolate(small, scale_factor=FACTOR, mode="nearest")], 1)


def create_trainable(options: Options, data: TrainingData) -> UpsamplerTrainable:
    """Build the networks of the trainer ``gigagan-upsampler``, untrained.

    Raises:
        OptionError: Options do not fit the images.
    """
    given = read_options(TrainingOptions, options)
    channels, height, width = data.shape
    sizes = resolutions(MAX_LEVELS)
    if channels != 3 or height != width or height not in sizes[3:]:
        raise OptionError(
            f"The upsampler needs images of 3×32×32, 3×64×64, …; these are {channels}×{height}×{width}.",
            "Add --size 64 (or another power of two), and --rgb.",
        )
    sizes = sizes[: sizes.index(height) + 1]
    own_channels = read_channels(given.discriminator_channels, "--discriminator-channels", len(sizes))
    config = UpsamplerConfig(
        style_network=StyleNetworkConfig(given.z_dim, given.w_dim, depth=2),
        dim=given.channels,
        image_size=height,
        input_image_size=height // FACTOR,
        # The output's resolution, half of it, and the input's, which is halved once.
        up_dim_mults=(1, 2, 4),
        down_dim_mults=(4,),
        full_attn=(False, False, True),
        attn_depths=(1, 1, 1),
        mid_attn_depth=1,
        self_attn_dim_head=16,
        self_attn_heads=4,
        num_conv_kernels=given.kernels,
        blocks=given.blocks,
        residual=True,
    )
    discriminator = DiscriminatorConfig(own_channels, (height,), image_channels=6)
    return UpsamplerTrainable(config, discriminator, given)
