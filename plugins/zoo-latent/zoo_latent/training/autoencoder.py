"""Training an autoencoder: Rombach et al. 2022 (arXiv:2112.10752), section 3.1 and appendix G.

A reconstruction loss, and a Kullback-Leibler divergence of small weight that keeps the latents near a
standard normal distribution (Kingma & Welling 2013, arXiv:1312.6114, appendix B). The reconstruction loss is
the absolute plus the squared error of pixels, and the absolute error of their differences to the right and
below (Mathieu et al. 2015, arXiv:1511.05440, equation 6), which keeps edges sharp. The squares are for
colour: with absolute errors alone, red and green are learned late. There is no discriminator.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from math import gcd
from pathlib import Path

import torch
from torch import Tensor, nn

from zoo_core import Loss, OptionError, Options, TrainingData, read_options, save_checkpoint
from zoo_latent.networks.autoencoder_kl import AutoencoderKL, AutoencoderKLConfig
from zoo_latent.training.options import whole_numbers

MOMENTUM = 0.01
"""Weight of a batch in the moving averages of the latents' mean and mean square."""
MOST_GROUPS = 32


@dataclass(frozen=True)
class TrainingOptions:
    """Options of ``zoo train autoencoder``, as zoo.toml declares them."""

    channels: str
    layers: int
    latent_channels: int
    kl: float
    edges: float
    weights: str


class AutoencoderTrainable:
    """An autoencoder that learns to reconstruct images."""

    def __init__(self, config: AutoencoderKLConfig, options: TrainingOptions) -> None:
        self.networks: Mapping[str, nn.Module] = {"autoencoder": AutoencoderInTraining(config)}
        self.options = options

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the one loss of a step; ``batch`` has ``images`` (n, c, h, w) in [-1, 1]."""
        images = batch["images"]
        state = self.networks["autoencoder"]
        assert isinstance(state, AutoencoderInTraining)
        normal = torch.randn(state.latent_shape(images), generator=random, device=images.device)
        reconstructed, mean, log_variance = networks["autoencoder"](images, normal)
        state.update(mean.detach(), log_variance.detach())
        error = reconstructed - images
        distance, square, edges = error.abs().mean(), error.square().mean(), differences(error)
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).mean()
        metrics = {
            "L1": distance.detach(),
            "PSNR in dB": -10 * (square.detach() / 4).log10(),
            "edges L1": edges.detach(),
            "KL in nats per latent": divergence.detach(),
        }
        value = distance + square + edges * self.options.edges + divergence * self.options.kl
        yield Loss("autoencoder", value, metrics)

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the autoencoder into ``folder``, in the layout of diffusers' ``AutoencoderKL``."""
        autoencoder = networks["autoencoder"]
        assert isinstance(autoencoder, AutoencoderInTraining)
        write_autoencoder(
            folder, autoencoder.network, autoencoder.scaled_config(), getattr(torch, self.options.weights)
        )


class AutoencoderInTraining(nn.Module):
    """An autoencoder, and moving averages of its latents' mean and mean square."""

    mean: Tensor
    mean_square: Tensor

    def __init__(self, config: AutoencoderKLConfig) -> None:
        super().__init__()
        self.network = AutoencoderKL(config)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("mean_square", torch.ones(()))

    def forward(self, images: Tensor, normal: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Encode images (n, c, h, w), draw latents with ``normal`` and decode them.

        Returns:
            The reconstruction (n, c, h, w); means and log variances (n, latent_channels, h/factor, w/factor).
        """
        mean, log_variance = (part.float() for part in self.network.moments(images))
        reconstructed = self.network.decode(mean + torch.exp(0.5 * log_variance) * normal)
        return reconstructed.float(), mean, log_variance

    def latent_shape(self, images: Tensor) -> tuple[int, int, int, int]:
        """Return the shape of the latents of images (n, c, h, w)."""
        n, _, height, width = images.shape
        config = self.network.config
        return n, config.latent_channels, height // config.factor, width // config.factor

    @torch.no_grad()
    def update(self, mean: Tensor, log_variance: Tensor) -> None:
        """Average in the latents of a batch."""
        self.mean.lerp_(mean.mean(), MOMENTUM)
        self.mean_square.lerp_((mean.square() + log_variance.exp()).mean(), MOMENTUM)

    def scaled_config(self) -> AutoencoderKLConfig:
        """Return the config with which latents have mean 0 and standard deviation 1."""
        deviation = (self.mean_square - self.mean.square()).clamp(min=1e-8).sqrt()
        return replace(
            self.network.config, scaling_factor=1 / float(deviation), shift_factor=float(self.mean)
        )


def differences(error: Tensor) -> Tensor:
    """Return the mean absolute difference of neighbours in errors (n, c, h, w), across and down."""
    return error.diff(dim=3).abs().mean() + error.diff(dim=2).abs().mean()


def write_autoencoder(
    folder: Path, network: AutoencoderKL, config: AutoencoderKLConfig, dtype: torch.dtype
) -> None:
    """Write an autoencoder at the root of ``folder``, its tensors in ``dtype``."""
    save_checkpoint(
        folder,
        asdict(config),
        network,
        dtype,
        weights="diffusion_pytorch_model",
        _class_name="AutoencoderKL",
    )


def create_autoencoder(options: Options, data: TrainingData) -> AutoencoderTrainable:
    """Build an untrained autoencoder for images like ``data``.

    Raises:
        OptionError: The options do not fit the images.
    """
    given = read_options(TrainingOptions, options)
    channels = whole_numbers(given.channels, "--channels")
    depth, height, width = data.shape
    factor = 1 << (len(channels) - 1)
    if depth != 3:
        raise OptionError("An autoencoder needs images in colour.", "Add --rgb.")
    if height % factor or width % factor:
        raise OptionError(
            f"Images of {height}×{width} cannot be halved {len(channels) - 1} times.",
            f"Give --channels fewer numbers, or --size a multiple of {factor}.",
        )
    config = AutoencoderKLConfig(
        down_block_types=tuple("DownEncoderBlock2D" for _ in channels),
        up_block_types=tuple("UpDecoderBlock2D" for _ in channels),
        block_out_channels=channels,
        layers_per_block=given.layers,
        latent_channels=given.latent_channels,
        scaling_factor=1.0,  # of the latents as they are learned; save() writes the one that is measured
        norm_num_groups=gcd(MOST_GROUPS, *(c // 4 if c % 4 == 0 else 1 for c in channels)),
    )
    return AutoencoderTrainable(config, given)
