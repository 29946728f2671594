"""The generator of images: noise to styles, styles to images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace

import torch
from torch import Tensor

from zoo_core import Batch, Checkpoint, Noise, OptionError, Step, draw_labels
from zoo_core.kernels import has_packed_conv
from zoo_stylegan import checkpoint as layout
from zoo_stylegan import fast_stylegan2, fast_stylegan3
from zoo_stylegan.graph import GraphedSynthesis
from zoo_stylegan.latents import read_latent
from zoo_stylegan.mapping import truncate
from zoo_stylegan.mixing import Mix
from zoo_stylegan.stylegan2 import StyleGAN2
from zoo_stylegan.stylegan3 import StyleGAN3
from zoo_stylegan.transforms import transform

BATCH_PIXELS = 2**20
"""Pixels of a batch that it likes."""


class StyleGAN:
    """A StyleGAN2 or StyleGAN3 ready to draw.

    Args:
        checkpoint: In a layout of :mod:`zoo_stylegan.checkpoint`.
        device: Where to compute.
        dtype: Type the synthesis computes in; None is float32. The mapping is never computed in less.

    Raises:
        WeightsError: The checkpoint holds no model of this kind.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        self.network = layout.read(checkpoint)
        self.dtype = dtype or torch.float32
        self.device = device
        self.network.mapping.to(device, torch.promote_types(self.dtype, torch.float32))
        self.network.synthesis.to(device, self.dtype)
        self.config = self.network.config
        self._synthesis: Callable[..., Tensor] | None = None
        self.batch_size = max(1, min(16, BATCH_PIXELS // self.config.resolution**2))

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's images, in one step.

        Raises:
            OptionError: Options that do not fit each other or this model.
        """
        ws, labels = self._locate(batch)
        metadata = None if labels is None else tuple({"label": label} for label in labels)
        yield Step(images=self.synthesize(ws, batch.options, batch.noise), metadata=metadata)

    def encode(self, batch: Batch) -> Tensor:
        """Return the styles of the batch's samples, mixed and truncated as it says: (n, layers, w_dim).

        Raises:
            OptionError: Options that do not fit each other or this model.
        """
        return self._locate(batch)[0]

    def _locate(self, batch: Batch) -> tuple[Tensor, list[int] | None]:
        """The styles of the samples, and their classes."""
        options = batch.options
        labels = self._labels(options.label, batch.noise)
        z = batch.noise.normal(self.config.z_dim)
        ws = self.styles(z, labels)
        if options.latent is not None:
            ws = read_latent(options.latent, self.config).to(ws).expand_as(ws)
        if options.mix is not None:
            mix = Mix.read(options.mix, self.config.layers)
            ws = mix.apply(ws, self.styles(self.latent(mix.seed)[0].expand_as(z), labels))
        cutoff = options.truncation_cutoff
        if cutoff is not None and cutoff > self.config.layers:
            raise OptionError(
                f"--truncation-cutoff {cutoff}: the model has {self.config.layers} layers.",
                "Give fewer, or leave it out for all.",
            )
        return truncate(ws, self.network.mapping.w_avg, options.truncation, cutoff), labels

    def mapping(self, z: Tensor, label: Sequence[int] | None = None) -> Tensor:
        """Map z (n, z_dim), and a class each where there are classes, to w (n, w_dim)."""
        mapping = self.network.mapping
        classes = None
        if label is not None:
            ids = torch.tensor(label, device=self.device)
            classes = torch.nn.functional.one_hot(ids, self.config.classes).to(mapping.w_avg.dtype)
        w: Tensor = mapping(z.to(mapping.w_avg), classes)
        return w

    def styles(self, z: Tensor, labels: Sequence[int] | None) -> Tensor:
        """The same w for each layer: (n, layers, w_dim)."""
        return self.mapping(z, labels)[:, None].expand(-1, self.config.layers, -1)

    def synthesize(self, ws: Tensor, options: SimpleNamespace, noise: Noise) -> Tensor:
        """Turn styles (n, layers, w_dim) into images (n, c, h, w) in [-1, 1].

        Args:
            ws: A style for each layer.
            options: Of a StyleGAN2, ``noise``: const, random or none. Of a StyleGAN3, ``rotate``,
                ``translate`` and ``transform``: see :mod:`zoo_stylegan.transforms`.
            noise: The samples' streams, from which ``random`` draws.

        Raises:
            OptionError: A transform that is none.
        """
        ws = ws.to(self.dtype)
        if self._synthesis is None:
            self._synthesis = fastest_synthesis(self.network, self.device, self.dtype)
        synthesis = self._synthesis
        if isinstance(self.network, StyleGAN2):
            noises: list[Tensor] | None = None
            if options.noise == "const":
                noises = self.network.synthesis.constant_noise()
            elif options.noise == "random":
                noises = [noise.normal(1, n, n).to(self.dtype) for n in self.network.config.noise_sizes]
            images: Tensor = synthesis(ws, noises)
        else:
            given = transform(options.rotate, options.translate, options.transform)
            images = synthesis(ws, given)
        return images.float().clamp(-1, 1)

    def latent(self, seed: int, label: int | None = None) -> tuple[Tensor, list[int] | None]:
        """Return the z (1, z_dim) and the class of the sample that has this seed.

        Args:
            seed: Of the sample.
            label: Its class, if that was asked for; else one is drawn, where there are classes.
        """
        noise = Noise([seed], self.device)
        labels = self._labels([label], noise)  # drawn before z
        return noise.normal(self.config.z_dim), labels

    def check_label(self, label: int | None) -> None:
        """Check that there is this class.

        Raises:
            OptionError: There is not, or the model has no classes.
        """
        self._labels([label], Noise([0], self.device))

    def _labels(self, given: Sequence[int | None], noise: Noise) -> list[int] | None:
        if self.config.classes:
            return draw_labels(given, self.config.classes, noise)
        if any(label is not None for label in given):
            raise OptionError("--label: this model has no classes.", "Leave out --label.")
        return None


def fastest_synthesis(
    network: StyleGAN2 | StyleGAN3, device: torch.device, dtype: torch.dtype
) -> Callable[..., Tensor]:
    """Return what turns styles into images as ``network.synthesis`` does, the fastest way there is here."""
    if device.type == "cuda":
        return GraphedSynthesis(network.synthesis)
    if not has_packed_conv(device, dtype) or dtype != torch.float32:
        return network.synthesis
    if isinstance(network, StyleGAN2):
        return fast_stylegan2.FastSynthesis(network.synthesis)
    return fast_stylegan3.FastSynthesis(network.synthesis)
