"""Training: the minimax game of Goodfellow et al. 2014 (arXiv:1406.2661), as StyleGAN2 plays it.

Non-saturating logistic losses; R1 on real images (Mescheder et al. 2018, arXiv:1801.04406) and path-length
regularisation, both lazy (Karras et al. 2020, arXiv:1912.04958, sections 3.2 and 3.1); style mixing
(arXiv:1812.04948, section 3.1); ADA (arXiv:2006.06676).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Loss, OptionError, TrainingData
from zoo_stylegan import checkpoint
from zoo_stylegan.augment import KINDS, Augment
from zoo_stylegan.discriminator import Discriminator
from zoo_stylegan.stylegan2 import SMALLEST, StyleGAN2, StyleGAN2Config

WEIGHT_TYPES = {"float32": torch.float32, "float16": torch.float16}
MEAN_STYLE_DECAY = 0.998
"""Of the mean style that truncation pulls to, for each batch."""
PATH_LENGTH_DECAY = 0.99
"""Of the mean length that paths are held to, for each time it is measured."""


class GeneratorInTraining(nn.Module):
    """The generator, and what the training remembers of it."""

    path_length: Tensor

    def __init__(self, network: StyleGAN2) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("path_length", torch.zeros(()))

    def forward(
        self, z: Tensor, other: Tensor, crossover: Tensor, c: Tensor | None, noises: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return images (n, c, h, w) and the styles they were drawn from (n, layers, w_dim).

        Args:
            z: Noise, (n, z_dim).
            other: Noise whose styles the layers from ``crossover`` on take, (n, z_dim).
            crossover: (n,); as many as there are layers: none.
            c: Classes, (n, classes); None for an unconditional generator.
            noises: Standard normals for each convolution.
        """
        mapping, layers = self.network.mapping, self.network.config.layers
        w = mapping(z, c)
        if self.training:
            mapping.w_avg.lerp_(w.detach().float().mean(0), 1 - MEAN_STYLE_DECAY)
        is_late = torch.arange(layers, device=z.device) >= crossover[:, None]
        ws = torch.where(is_late[..., None], mapping(other, c)[:, None], w[:, None])
        images: Tensor = self.network.synthesis(ws, noises)
        return images, ws


class DiscriminatorInTraining(nn.Module):
    """The discriminator behind the augmentation, and how many steps it has made."""

    steps: Tensor

    def __init__(self, network: Discriminator, augment: Augment) -> None:
        super().__init__()
        self.network, self.augment = network, augment
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Tensor, c: Tensor | None, random: torch.Generator) -> Tensor:
        """Return the logits of being real, (n,), of images as augmentation leaves them."""
        logits: Tensor = self.network(self.augment(images, random), c)
        return logits.float()


class StyleGAN2Trainable:
    """A generator and a discriminator that learn from each other.

    Args:
        config: The generator's shape; the discriminator has the same channels.
        augment: ADA.
        classes: Names of the classes; empty for an unconditional model.
        r1: γ of R1.
        r1_every: Steps between two of them.
        path_length: Weight of path-length regularisation; 0: none.
        path_length_every: Steps between two of them.
        mixing: Probability that an image mixes two styles.
        dtype: The type weights are published in.
    """

    betas = (0.0, 0.99)
    """Adam's, for both networks: arXiv:1812.04948, appendix C."""

    def __init__(
        self,
        config: StyleGAN2Config,
        augment: Augment,
        classes: Sequence[str] = (),
        *,
        r1: float,
        r1_every: int = 16,
        path_length: float = 2.0,
        path_length_every: int = 4,
        mixing: float = 0.9,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        discriminator = Discriminator(
            config.channels, config.image_channels, len(classes), config.mapping_layers
        )
        self.networks: Mapping[str, nn.Module] = {
            "generator": GeneratorInTraining(StyleGAN2(config)),
            "discriminator": DiscriminatorInTraining(discriminator, augment),
        }
        self.config, self.classes = config, tuple(classes)
        self.r1, self.r1_every = r1, r1_every
        self.path_length, self.path_length_every = path_length, path_length_every
        self.mixing = mixing
        self.dtype = dtype

    def losses(
        self, networks: Mapping[str, nn.Module], batch: Mapping[str, Tensor], random: torch.Generator
    ) -> Iterator[Loss]:
        """Yield the discriminator's loss, then the generator's against the discriminator that it became.

        Args:
            networks: ``generator`` and ``discriminator``, as the loop wrapped them.
            batch: ``images`` (n, c, h, w) in [-1, 1]; ``labels`` (n,) int64 for a class-conditional model.
            random: The source of z, noise, mixing and augmentation, on the batch's device.
        """
        generator, discriminator = networks["generator"], networks["discriminator"]
        real, c = batch["images"], None
        if self.classes:
            # Sorted, neighbours are of one class: the discriminator sees how much those of a class differ.
            labels, order = batch["labels"].sort()
            real, c = real[order], F.one_hot(labels, len(self.classes)).to(real)
        state = self.networks["discriminator"]
        assert isinstance(state, DiscriminatorInTraining)
        steps = int(state.steps)
        state.steps.add_(1)

        with torch.no_grad():
            fake, _ = generator(*self._draw(real, c, random))
        is_r1 = self.r1 > 0 and steps % self.r1_every == 0
        fake_logits = discriminator(fake, c, random)
        real_logits = discriminator(real.requires_grad_(is_r1), c, random)
        value = F.softplus(fake_logits).mean() + F.softplus(-real_logits).mean()
        figures = {
            "discriminator loss": value.detach(),
            "D(x)": real_logits.detach().sigmoid().mean(),
            "D(G(z))": fake_logits.detach().sigmoid().mean(),
            "ADA's p": state.augment.p.clone(),
        }
        state.augment.adjust(real_logits.detach())
        if is_r1:
            penalty = gradient_penalty(real_logits, real)
            figures["R1 penalty"] = penalty.detach()
            value = value + penalty * (self.r1 / 2 * self.r1_every)
        yield Loss("discriminator", value, figures)

        images, ws = generator(*self._draw(real, c, random))
        value = F.softplus(-discriminator(images, c, random)).mean()
        figures = {"generator loss": value.detach()}
        if self.path_length and steps % self.path_length_every == 0:
            penalty = self._path_penalty(images, ws, random)
            figures["path length penalty"] = penalty.detach()
            value = value + penalty * (self.path_length * self.path_length_every)
        yield Loss("generator", value, figures)

    def _draw(
        self, like: Tensor, c: Tensor | None, random: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, list[Tensor]]:
        """Draw what a generator makes as many images of as there are in ``like``."""
        n, device, config = len(like), like.device, self.config
        z, other = torch.randn(2, n, config.z_dim, generator=random, device=device)
        is_mixed = torch.rand(n, generator=random, device=device) < self.mixing
        crossover = torch.randint(1, config.layers, (n,), generator=random, device=device)
        noises = [
            torch.randn(n, 1, size, size, generator=random, device=device) for size in config.noise_sizes
        ]
        return z, other, crossover.masked_fill(~is_mixed, config.layers), c, noises

    def _path_penalty(self, images: Tensor, ws: Tensor, random: torch.Generator) -> Tensor:
        """(‖Jᵀy‖ − a)², y normal and a a moving mean of the lengths: arXiv:1912.04958, equation 4."""
        y = torch.randn(images.shape, generator=random, device=images.device)
        y = y / math.sqrt(images[0, 0].numel())
        (gradients,) = torch.autograd.grad((images * y).sum(), ws, create_graph=True)
        lengths = gradients.square().sum(2).mean(1).sqrt()
        state = self.networks["generator"]
        assert isinstance(state, GeneratorInTraining)
        state.path_length.lerp_(lengths.detach().mean(), 1 - PATH_LENGTH_DECAY)
        return (lengths - state.path_length.clone()).square().mean()

    def save(self, folder: Path, networks: Mapping[str, nn.Module]) -> None:
        """Write the generator into ``folder``, a checkpoint of our own layout."""
        generator = networks["generator"]
        assert isinstance(generator, GeneratorInTraining)
        checkpoint.write(folder, generator.network, {"class_names": list(self.classes)}, self.dtype)


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """R1: the mean squared norm of the logits' gradient by real images; arXiv:1801.04406, equation 9."""
    (gradients,) = torch.autograd.grad(logits.sum(), images, create_graph=True)
    return gradients.square().sum((1, 2, 3)).mean()


def create(options: SimpleNamespace, data: TrainingData) -> StyleGAN2Trainable:
    """Build a fresh trainable for images like ``data`` from the options of the trainer ``stylegan2``.

    Raises:
        OptionError: Options that do not fit the data.
    """
    image_channels, height, width = data.shape
    levels = int(math.log2(height / SMALLEST)) + 1 if height >= 2 * SMALLEST else 0
    if height != width or not levels or height != SMALLEST << (levels - 1):
        raise OptionError(
            f"StyleGAN2 draws squares of 8, 16, 32, … pixels; these images have {height}×{width}.",
            f"Add --size {max(8, 1 << round(math.log2(max(height, width))))}.",
        )
    kinds = [kind for kind in options.augment.split(",") if kind]
    unknown = next((kind for kind in kinds if kind not in KINDS), None)
    if unknown is not None:
        raise OptionError(f"--augment does not know {unknown!r}.", f"Give some of {','.join(KINDS)}.")
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
    # γ grows with the images' size, as in the authors' automatic setting.
    r1 = 0.0002 * height * width / 32 if options.r1 is None else options.r1
    return StyleGAN2Trainable(
        config,
        Augment(kinds, options.ada_target),
        data.classes,
        r1=r1,
        r1_every=options.r1_every,
        path_length=options.path_length,
        path_length_every=options.path_length_every,
        mixing=options.mixing,
        dtype=WEIGHT_TYPES[options.weights],
    )
