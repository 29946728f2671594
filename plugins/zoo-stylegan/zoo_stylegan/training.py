"""Train StyleGAN2: the minimax game of Goodfellow et al. 2014 (arXiv:1406.2661).

Non-saturating logistic losses, or the relativistic pairing loss of R3GAN (Huang et al. 2024,
arXiv:2501.05441, section 2.1); R1 on real images (Mescheder et al. 2018, arXiv:1801.04406) and path-length
regularization, both lazy (Karras et al. 2020, arXiv:1912.04958, sections 3.2 and 3.1); style mixing
(arXiv:1812.04948, section 3.1); ADA (arXiv:2006.06676).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, Options, TrainingData, read_options, save_checkpoint
from zoo_stylegan.augment import KINDS, Augment
from zoo_stylegan.formats.checkpoint import to_json
from zoo_stylegan.networks.discriminator import Discriminator
from zoo_stylegan.networks.stylegan2 import MIN_RESOLUTION, StyleGAN2, StyleGAN2Config

W_AVG_BETA = 0.998
"""Decay of w_avg, the moving average of w that truncation uses, per batch."""
PATH_LENGTH_DECAY = 0.99
"""Decay of the moving average of path lengths, per measurement."""


@dataclass(frozen=True)
class TrainerOptions:
    """The options of the trainer ``stylegan2``."""

    channels: int
    max_channels: int
    z_dim: int
    w_dim: int
    mapping_layers: int
    loss: str
    r1: float | None
    r1_every: int
    path_length: float
    path_length_every: int
    mixing: float
    augment: str
    ada_target: float
    weights: str


class GeneratorInTraining(nn.Module):
    """The generator and its training state."""

    path_length: Tensor

    def __init__(self, network: StyleGAN2) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("path_length", torch.zeros(()))

    def forward(
        self, z: Tensor, other: Tensor, crossover: Tensor, c: Tensor | None, noises: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return images (n, c, h, w) and their styles (n, layers, w_dim) for z (n, z_dim).

        Layers from ``crossover`` (n,) on use ``other`` (n, z_dim); at the number of layers nothing is mixed.
        ``c`` is one-hot (n, classes), or None; ``noises`` are standard normal, one for each convolution.
        """
        mapping, layers = self.network.mapping, self.network.config.layers
        w = mapping(z, c)
        if self.training:
            mapping.w_avg.lerp_(w.detach().float().mean(0), 1 - W_AVG_BETA)
        is_mixed = torch.arange(layers, device=z.device) >= crossover[:, None]
        ws = torch.where(is_mixed[..., None], mapping(other, c)[:, None], w[:, None])
        images: Tensor = self.network.synthesis(ws, noises)
        return images, ws


class DiscriminatorInTraining(nn.Module):
    """The discriminator with augmentation in front, and its number of steps."""

    steps: Tensor

    def __init__(self, network: Discriminator, augment: Augment) -> None:
        super().__init__()
        self.network, self.augment = network, augment
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor, c: Tensor | None, random: torch.Generator) -> Tensor:
        """Return the logits that augmented images are real, (n,)."""
        logits: Tensor = self.network(self.augment(images, random), c)
        return logits.float()


class StyleGAN2Trainable:
    """A generator and a discriminator of the same channels; ``r1`` is γ of the R1 penalty, 0: none."""

    betas = (0.0, 0.99)
    """Adam's betas for both networks: arXiv:1812.04948, appendix C."""

    def __init__(
        self,
        config: StyleGAN2Config,
        augment: Augment,
        classes: Sequence[str],
        options: TrainerOptions,
        r1: float,
    ) -> None:
        discriminator = Discriminator(
            config.channels, config.image_channels, len(classes), config.mapping_layers
        )
        self.networks: Mapping[str, nn.Module] = {
            "generator": GeneratorInTraining(StyleGAN2(config)),
            "discriminator": DiscriminatorInTraining(discriminator, augment),
        }
        self.config, self.classes = config, tuple(classes)
        self.options, self.r1 = options, r1

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the discriminator's loss, then the generator's against the updated discriminator.

        ``batch`` has ``images`` (n, c, h, w) in [-1, 1], and for a conditional model ``labels`` (n,) int64.
        """
        generator, discriminator = networks["generator"], networks["discriminator"]
        real, c = batch["images"], None
        if self.classes:
            # Sorted by class, so that minibatch_stddev measures the variation within a class.
            labels, order = batch["labels"].sort()
            real, c = real[order], F.one_hot(labels, len(self.classes)).to(real)
        state = self.networks["discriminator"]
        assert isinstance(state, DiscriminatorInTraining)
        steps = int(state.steps)
        state.steps.add_(1)

        is_relativistic = self.options.loss == "relativistic"
        images, ws = generator(*self._draw_inputs(real, c, random))
        is_r1 = self.r1 > 0 and steps % self.options.r1_every == 0
        fake = images.detach().requires_grad_(is_r1 and is_relativistic)
        fake_logits = discriminator(fake, c, random)
        real_logits = discriminator(real.requires_grad_(is_r1), c, random)
        if is_relativistic:
            margins = real_logits - fake_logits
            value = F.softplus(-margins).mean()
            metrics = {"D(x, G(z))": margins.detach().sigmoid().mean()}
        else:
            margins = real_logits
            value = F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()
            metrics = {
                "D(x)": real_logits.detach().sigmoid().mean(),
                "D(G(z))": fake_logits.detach().sigmoid().mean(),
            }
        metrics |= {"discriminator loss": value.detach(), "ADA's p": state.augment.p.clone()}
        state.augment.adjust(margins.detach())
        if is_r1:
            penalty = r1_penalty(real_logits, real)
            metrics["R1 penalty"] = penalty.detach()
            if is_relativistic:
                # R3GAN: without R2, on generated images, training by pairs diverges.
                r2 = r1_penalty(fake_logits, fake)
                metrics["R2 penalty"] = r2.detach()
                penalty = penalty + r2
            value = value + penalty * (self.r1 / 2 * self.options.r1_every)
        yield Loss("discriminator", value, metrics)

        real_logits = torch.zeros((), device=real.device)
        if is_relativistic:
            with torch.no_grad():
                real_logits = discriminator(real.detach(), c, random)
        value = F.softplus(real_logits - discriminator(images, c, random)).mean()
        metrics = {"generator loss": value.detach()}
        weight, every = self.options.path_length, self.options.path_length_every
        if weight and steps % every == 0:
            penalty = self._path_length_penalty(images, ws, random)
            metrics["path length penalty"] = penalty.detach()
            value = value + penalty * (weight * every)
        yield Loss("generator", value, metrics)

    def _draw_inputs(
        self, like: Tensor, c: Tensor | None, random: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, list[Tensor]]:
        """Draw the generator's inputs for as many images as ``like`` has."""
        n, device, config = len(like), like.device, self.config
        z, other = torch.randn(2, n, config.z_dim, generator=random, device=device)
        is_mixed = torch.rand(n, generator=random, device=device) < self.options.mixing
        crossover = torch.randint(1, config.layers, (n,), generator=random, device=device)
        noises = [
            torch.randn(n, 1, size, size, generator=random, device=device) for size in config.noise_sizes
        ]
        return z, other, crossover.masked_fill(~is_mixed, config.layers), c, noises

    def _path_length_penalty(self, images: Tensor, ws: Tensor, random: torch.Generator) -> Tensor:
        """Return (‖Jᵀy‖ − a)² with y normal and a the moving average of lengths: arXiv:1912.04958, eq. 4."""
        y = torch.randn(images.shape, generator=random, device=images.device)
        y = y / math.sqrt(images[0, 0].numel())
        (gradients,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
        lengths = gradients.square().sum(2).mean(1).sqrt()
        state = self.networks["generator"]
        assert isinstance(state, GeneratorInTraining)
        state.path_length.lerp_(lengths.detach().mean(), 1 - PATH_LENGTH_DECAY)
        return (lengths - state.path_length.clone()).square().mean()

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the generator into ``folder`` as a checkpoint in the plugin's own layout."""
        generator = networks["generator"]
        assert isinstance(generator, GeneratorInTraining)
        config = {**to_json(self.config), "zoo": {"class_names": list(self.classes)}}
        save_checkpoint(folder, config, generator.network, getattr(torch, self.options.weights))


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Return the mean squared norm of the logits' gradient by images; arXiv:1801.04406, equations 9, 10."""
    (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradients.square().sum((1, 2, 3)).mean()


def create_trainable(given: Options, data: TrainingData) -> StyleGAN2Trainable:
    """Build a new trainable for images like ``data`` from the options of the trainer ``stylegan2``.

    Raises:
        OptionError: An option does not fit the data.
    """
    options = read_options(TrainerOptions, given)
    image_channels, height, width = data.shape
    levels = int(math.log2(height / MIN_RESOLUTION)) + 1 if height >= 2 * MIN_RESOLUTION else 0
    if height != width or not levels or height != MIN_RESOLUTION << (levels - 1):
        raise OptionError(
            f"StyleGAN2 generates square images of 8, 16, 32, … pixels; these images have {height}×{width}.",
            f"Add --size {max(8, 1 << round(math.log2(max(height, width))))}.",
        )
    kinds = [kind for kind in options.augment.split(",") if kind]
    unknown = next((kind for kind in kinds if kind not in KINDS), None)
    if unknown is not None:
        raise OptionError(f"--augment: unknown augmentation {unknown!r}.", f"Give some of {','.join(KINDS)}.")
    channels = tuple(
        min(options.max_channels, options.channels << (levels - 1 - index)) for index in range(levels)
    )
    config = StyleGAN2Config(
        resolution=height,
        channels=channels,
        z_dim=options.z_dim,
        w_dim=options.w_dim,
        classes=len(data.classes),
        mapping_layers=options.mapping_layers,
        image_channels=image_channels,
    )
    # γ grows with the number of pixels, as in the authors' configuration "auto".
    r1 = 0.0002 * height * width / 32 if options.r1 is None else options.r1
    return StyleGAN2Trainable(config, Augment(kinds, options.ada_target), data.classes, options, r1)
