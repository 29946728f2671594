"""Training the upsampler: images four times as large, against a discriminator that sees the small one too.

Kang et al. 2023, arXiv:2303.05511, section 3.5: a non-saturating loss beside a distance to the image that
was made small. Here that distance is an absolute one, and what is drawn must come back small as it was given.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, TrainingData
from zoo_gigagan import checkpoint
from zoo_gigagan.choices import WEIGHT_TYPES, read_channels
from zoo_gigagan.discriminator import (
    Discriminator,
    DiscriminatorConfig,
    DiscriminatorInTraining,
    gradient_penalty,
)
from zoo_gigagan.text_to_image import SMALLEST
from zoo_gigagan.tiles import FACTOR
from zoo_gigagan.upsampler import Upsampler, UpsamplerConfig

GRAIN = 1e-3
"""Deviation of the noise that small images get, as when they are enlarged."""


class UpsamplerTrainable:
    """An upsampler and a discriminator that learn from each other.

    Args:
        config: The upsampler's shape.
        judging: The discriminator's.
        r1: γ of R1.
        r1_every: Steps between two of them.
        nearness: Weight of the absolute distance to the large image.
        consistency: Weight of the absolute distance between the small image and the drawn one made small.
        dtype: The type weights are published in.
    """

    betas = (0.0, 0.99)
    """Adam's, for both networks."""

    def __init__(
        self,
        config: UpsamplerConfig,
        judging: DiscriminatorConfig,
        *,
        r1: float,
        r1_every: int,
        nearness: float,
        consistency: float,
        dtype: torch.dtype,
    ) -> None:
        self.networks: Mapping[str, nn.Module] = {
            "generator": UpsamplerInTraining(Upsampler(config)),
            "discriminator": DiscriminatorInTraining(Discriminator(judging)),
        }
        self.config = config
        self.r1, self.r1_every = r1, r1_every
        self.nearness, self.consistency = nearness, consistency
        self.dtype = dtype

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the discriminator's loss, then the generator's against the discriminator that it became.

        Args:
            networks: ``generator`` and ``discriminator``, as the loop wrapped them.
            batch: ``images`` (n, 3, h, w) in [-1, 1].
            random: The source of z and grain, on the batch's device.
        """
        generator, discriminator = networks["generator"], networks["discriminator"]
        real = batch["images"]
        small = F.avg_pool2d(real, FACTOR)
        state = self.networks["discriminator"]
        assert isinstance(state, DiscriminatorInTraining)
        is_r1 = state.is_time(self.r1_every) and self.r1 > 0

        with torch.no_grad():
            fake = generator(*self._draw(small, random))
        pair = beside(real, small).requires_grad_(is_r1)
        (fake_logits,), (real_logits,) = discriminator([beside(fake, small)]), discriminator([pair])
        value = F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()
        figures = {
            "discriminator loss": value.detach(),
            "D(x)": real_logits.detach().sigmoid().mean(),
            "D(G(z))": fake_logits.detach().sigmoid().mean(),
        }
        if is_r1:
            penalty = gradient_penalty(real_logits, pair)
            figures["R1 penalty"] = penalty.detach()
            value = value + penalty * (self.r1 / 2 * self.r1_every)
        yield Loss("discriminator", value, figures)

        images = generator(*self._draw(small, random))
        (logits,) = discriminator([beside(images, small)])
        value = F.softplus(-logits).mean()
        near, back = F.l1_loss(images, real), F.l1_loss(F.avg_pool2d(images, FACTOR), small)
        figures = {"generator loss": value.detach(), "distance": near.detach(), "made small": back.detach()}
        yield Loss("generator", value + near * self.nearness + back * self.consistency, figures)

    def _draw(self, small: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Draw z, and the grain of small images."""
        z_dim = self.config.style_network["dim_in"]
        z = torch.randn(len(small), z_dim, generator=random, device=small.device)
        grain = torch.randn(small.shape, generator=random, device=small.device)
        return small + 2 * GRAIN * grain, z

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the upsampler into ``folder``, a checkpoint of our own layout."""
        generator = networks["generator"]
        assert isinstance(generator, UpsamplerInTraining)
        checkpoint.write(folder, generator.network, self.dtype)


class UpsamplerInTraining(nn.Module):
    """The upsampler, for images in [-1, 1]."""

    def __init__(self, network: Upsampler) -> None:
        super().__init__()
        self.network = network

    def forward(self, small: Tensor, z: Tensor) -> Tensor:
        """Map images (n, 3, s, s) and noise (n, d) to images (n, 3, 4s, 4s), about in [-1, 1]."""
        kernels = self.network.kernels(self.network.style_network(z))
        drawn: Tensor = self.network((small + 1) / 2, kernels)
        return drawn * 2 - 1


def beside(large: Tensor, small: Tensor) -> Tensor:
    """Return large images (n, 3, h, w) with the small ones, enlarged, as three more channels."""
    return torch.cat([large, F.interpolate(small, scale_factor=FACTOR, mode="nearest")], 1)


def create(options: SimpleNamespace, data: TrainingData) -> UpsamplerTrainable:
    """Build a fresh trainable from the options of the trainer ``gigagan-upsampler``.

    Raises:
        OptionError: Options that do not fit the data.
    """
    channels, height, width = data.shape
    sizes = [SMALLEST << level for level in range(9)]
    if channels != 3 or height != width or height not in sizes[3:]:
        raise OptionError(
            f"The upsampler draws 3×32×32, 3×64×64, …; these images are {channels}×{height}×{width}.",
            "Add --size 64 (or another), and --rgb.",
        )
    sizes = sizes[: sizes.index(height) + 1]
    judging = read_channels(options.discriminator_channels, "--discriminator-channels", len(sizes))
    config = UpsamplerConfig(
        style_network={"dim_in": options.z_dim, "dim_out": options.w_dim, "depth": 2},
        dim=options.channels,
        image_size=height,
        input_image_size=height // FACTOR,
        # The largest maps, the next, and those of the small image, which are halved once.
        up_dim_mults=(1, 2, 4),
        down_dim_mults=(4,),
        full_attn=(False, False, True),
        attn_depths=(1, 1, 1),
        mid_attn_depth=1,
        self_attn_dim_head=16,
        self_attn_heads=4,
        num_conv_kernels=options.kernels,
        blocks=options.blocks,
        residual=True,
    )
    return UpsamplerTrainable(
        config,
        DiscriminatorConfig(judging, (height,), image_channels=6),
        r1=options.r1,
        r1_every=options.r1_every,
        nearness=options.nearness,
        consistency=options.consistency,
        dtype=WEIGHT_TYPES[options.weights],
    )
