"""Generate images: noise to styles by the mapping network, styles to images by the synthesis network."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core import (
    Batch,
    Checkpoint,
    InputImage,
    Noise,
    OptionError,
    Options,
    Step,
    draw_labels,
    mix_latents,
    read_options,
)
from zoo_stylegan.formats.checkpoint import load_generator
from zoo_stylegan.inference import optimize_for_inference
from zoo_stylegan.latents.editing import EditOptions, StyleEditor
from zoo_stylegan.latents.files import read_latent
from zoo_stylegan.latents.mixing import parse_mix
from zoo_stylegan.latents.perceptual import LPIPS
from zoo_stylegan.latents.transforms import inverse_transform
from zoo_stylegan.networks.mapping import truncate
from zoo_stylegan.networks.stylegan2 import StyleGAN2

BATCH_PIXELS = 2**20
"""Limit of the pixels in a default batch."""
MAX_BATCH = 16


@dataclass(frozen=True)
class StyleOptions:
    """Options that determine the styles, for both architectures."""

    truncation: tuple[float, ...]
    truncation_cutoff: int | None
    label: tuple[int | None, ...]
    mix: str | None
    latent: str | None


@dataclass(frozen=True)
class NoiseOptions:
    """Options of StyleGAN2's synthesis network."""

    noise: str
    """``const``, ``random`` or ``none``."""


@dataclass(frozen=True)
class TransformOptions:
    """Options of StyleGAN3's synthesis network: see :mod:`zoo_stylegan.latents.transforms`."""

    rotate: float
    translate: str | None
    transform: str | None


class StyleGAN:
    """A generator of images with StyleGAN2 or StyleGAN3.

    Args:
        checkpoint: A checkpoint in a layout of :mod:`zoo_stylegan.formats.checkpoint`.
        device: Where to compute.
        dtype: Type of the synthesis network; None: float32. The mapping network is at least float32.

    Raises:
        WeightsError: The checkpoint holds no StyleGAN2 or StyleGAN3.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self._checkpoint = checkpoint
        self.network = load_generator(checkpoint)
        self.dtype = dtype or torch.float32
        self.device = device
        self.network.mapping.to(device, torch.promote_types(self.dtype, torch.float32))
        self.network.synthesis.to(device, self.dtype)
        self.config = self.network.config
        self._synthesis: Callable[..., Tensor] | None = None
        self._editor: StyleEditor | None = None
        self.batch_size = max(1, min(MAX_BATCH, BATCH_PIXELS // self.config.resolution**2))

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Generate the batch's images, in one step.

        Raises:
            OptionError: An option does not fit another or the model.
        """
        ws, labels = self._encode(batch)
        metadata = None if labels is None else tuple({"label": label} for label in labels)
        yield Step(images=self.synthesize(ws, batch.options, batch.noise), metadata=metadata)

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        """Change an image by its styles, or a part of it: see :mod:`zoo_stylegan.latents.editing`.

        Raises:
            OptionError: As of :meth:`generate`.
        """
        size = (self.config.resolution, self.config.resolution)
        image = image.fitted(size)
        ws, labels = self._encode(batch, one_by_one=True)
        pixels = image.pixels(channels=self.config.image_channels).to(self.device)
        options = read_options(EditOptions, batch.options)
        for done in self._open_editor().edited_styles(pixels, image.anew(), ws, labels, options):
            index, total, ws = done
            if index < total:
                yield Step(index, total)
        images = image.pasted(self.synthesize(ws, batch.options, batch.noise))
        metadata = None if labels is None else tuple({"label": label} for label in labels)
        yield Step(total, total, images, metadata=metadata)

    def _open_editor(self) -> StyleEditor:
        if self._editor is None:
            with torch.inference_mode(False):
                # In float32, with weights of its own: inference may have taken over those of self.network.
                network = load_generator(self._checkpoint).to(self.device)
                self._editor = StyleEditor(network, LPIPS().to(self.device))
        return self._editor

    def encode(self, batch: Batch) -> Tensor:
        """Return the styles of the batch's samples after mixing and truncation, (n, layers, w_dim).

        Raises:
            OptionError: An option does not fit another or the model.
        """
        return self._encode(batch)[0]

    def _encode(self, batch: Batch, *, one_by_one: bool = False) -> tuple[Tensor, list[int] | None]:
        """Return the styles and the classes of the samples.

        Args:
            batch: The samples.
            one_by_one: Map each z alone, so that its style does not depend on others even in the last bit.
        """
        options = read_options(StyleOptions, batch.options)
        labels = self._labels(options.label, batch.noise)
        z = batch.noise.normal(self.config.z_dim)
        if one_by_one:
            ws = torch.cat([self.styles(z[i : i + 1], labels and labels[i : i + 1]) for i in range(len(z))])
        else:
            ws = self.styles(z, labels)
        if options.latent is not None:
            ws = read_latent(options.latent, self.config).to(ws).expand_as(ws)
        if options.mix is not None:
            seed, layers = parse_mix(options.mix, self.config.layers)
            other = self.styles(self.draw_z(seed)[0].expand_as(z), labels)
            ws = mix_latents(ws, other, layers)
        cutoff = options.truncation_cutoff
        if cutoff is not None and cutoff > self.config.layers:
            raise OptionError(
                f"--truncation-cutoff {cutoff}: this model has only {self.config.layers} layers.",
                f"Give at most {self.config.layers}, or leave it out to truncate all layers.",
            )
        return truncate(ws, self.network.mapping.w_avg, options.truncation, cutoff), labels

    def mapping(self, z: Tensor, label: Sequence[int] | None = None) -> Tensor:
        """Map z (n, z_dim), and in a conditional model a class for each, to w (n, w_dim)."""
        mapping = self.network.mapping
        classes = None
        if label is not None:
            ids = torch.tensor(label, device=self.device)
            classes = torch.nn.functional.one_hot(ids, self.config.classes).to(mapping.w_avg.dtype)
        w: Tensor = mapping(z.to(mapping.w_avg), classes)
        return w

    def styles(self, z: Tensor, labels: Sequence[int] | None) -> Tensor:
        """Map z to w and repeat it for every layer: (n, layers, w_dim)."""
        return self.mapping(z, labels)[:, None].expand(-1, self.config.layers, -1)

    def synthesize(self, ws: Tensor, options: Options, noise: Noise) -> Tensor:
        """Map styles (n, layers, w_dim) to images (n, c, h, w) in [-1, 1].

        Args:
            ws: A style for each layer.
            options: :class:`NoiseOptions` for a StyleGAN2, :class:`TransformOptions` for a StyleGAN3.
            noise: The samples' streams, for ``--noise random``.

        Raises:
            OptionError: A transform cannot be parsed or inverted.
        """
        ws = ws.to(self.dtype)
        if self._synthesis is None:
            self._synthesis = optimize_for_inference(self.network, device=self.device, dtype=self.dtype)
        synthesis = self._synthesis
        if isinstance(self.network, StyleGAN2):
            mode = read_options(NoiseOptions, options).noise
            noises: list[Tensor] | None = None
            if mode == "const":
                noises = self.network.synthesis.constant_noise()
            elif mode == "random":
                noises = [noise.normal(1, n, n).to(self.dtype) for n in self.network.config.noise_sizes]
            images: Tensor = synthesis(ws, noises)
        else:
            transforms = read_options(TransformOptions, options)
            images = synthesis(
                ws, inverse_transform(transforms.rotate, transforms.translate, transforms.transform)
            )
        return images.float().clamp(-1, 1)

    def draw_z(self, seed: int, label: int | None = None) -> tuple[Tensor, list[int] | None]:
        """Return z (1, z_dim) and the class of the sample with this seed.

        Args:
            seed: The sample's seed.
            label: The class; None: drawn from the seed in a conditional model.

        Raises:
            OptionError: The model has no such class, or no classes.
        """
        noise = Noise([seed], self.device)
        labels = self._labels([label], noise)  # drawn before z
        return noise.normal(self.config.z_dim), labels

    def _labels(self, given: Sequence[int | None], noise: Noise) -> list[int] | None:
        if self.config.classes:
            return draw_labels(given, self.config.classes, noise)
        if any(label is not None for label in given):
            raise OptionError("--label: this model has no classes.", "Leave out --label.")
        return None
