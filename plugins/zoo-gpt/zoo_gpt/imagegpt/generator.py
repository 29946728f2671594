"""The generator of images: ImageGPT, which predicts an image's colours row by row.

Checkpoints trained here may have classes, each with its own start token, and colours that stand for a patch
of pixels: the table ``zoo`` in config.json says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from zoo_core import (
    Batch,
    Between,
    Checkpoint,
    Classes,
    InputImage,
    Noise,
    OptionError,
    Score,
    Step,
    classifier_free_guidance,
    draw_labels,
    read_config,
    read_options,
)
from zoo_gpt.decoding.decode import batch_size_for, decode
from zoo_gpt.decoding.inference import default_dtype, optimize_for_inference
from zoo_gpt.decoding.likelihood import token_log_likelihoods
from zoo_gpt.decoding.sampling import SamplingOptions, TokenSampler
from zoo_gpt.imagegpt.palette import ColorPalette
from zoo_gpt.network.checkpoint import load_transformer


@dataclass(frozen=True)
class ImageOptions(SamplingOptions):
    """The options of an ImageGPT."""

    keep: float
    label: tuple[int | None, ...]
    guidance_scale: float


@dataclass(frozen=True)
class PatchConfig:
    """The table ``zoo`` in config.json, without the classes."""

    patch: Annotated[int, Between(1, 1024)] = 1
    """Height and width in pixels of the patch that one colour stands for."""


class ImageGPT:
    """An image model that draws, completes and scores images.

    Args:
        checkpoint: A checkpoint in the layout of openai/imagegpt-small, with its preprocessor_config.json.
        device: The device to compute on.
        dtype: Type of the weights; None: the fastest in which a sample does not depend on its batch.

    Raises:
        WeightsError: The checkpoint is not a supported ImageGPT.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        transformer = load_transformer(checkpoint)
        config = transformer.config
        preprocessor = checkpoint.json("preprocessor_config.json")
        source = f"{checkpoint.source}: preprocessor_config.json"
        zoo, zoo_source = checkpoint.json("config.json").get("zoo") or {}, f"{checkpoint.source}: config.json"
        self.classes = Classes.read(zoo, zoo_source)
        patch = read_config(PatchConfig, zoo, zoo_source, ignore=("class_names", "null_class")).patch
        self.palette = ColorPalette.read(preprocessor, config.context, source, patch)
        self.dtype = dtype or default_dtype(device)
        self.transformer = optimize_for_inference(transformer, device=device, dtype=self.dtype)
        self.batch_size = batch_size_for(config)
        self.start = config.vocab_out
        """The start token of images, or that of the first class: the first token after the colours."""

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's images; every finished row gives a preview.

        Raises:
            OptionError: The model has no such class, or cannot be guided.
        """
        return self._draw(batch, [])

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        """Complete an image from its upper part, as large as ``keep`` says.

        Raises:
            OptionError: As of :meth:`generate`, or nothing is left to draw.
        """
        return self._draw(batch, self._kept(image, read_options(ImageOptions, batch.options).keep))

    def _draw(self, batch: Batch, kept: Sequence[int]) -> Iterator[Step]:
        options = read_options(ImageOptions, batch.options)
        labels = self._labels(options, batch.noise, kept)
        metadata = tuple(map(self.classes.describe, labels)) if self.classes else None
        prompts = [[self.start + label, *kept] for label in labels]
        total = self.palette.row**2 - len(kept)
        colours = torch.tensor(kept, dtype=torch.long).repeat(batch.n, 1)
        sampler = TokenSampler(options, prompts, batch.noise, self.transformer.config.vocab_out, total)
        decoded = self._decode(prompts, total, sampler, options.guidance_scale)
        for index, tokens in enumerate(decoded, start=1):
            colours = torch.cat([colours, tokens[:, None].cpu()], dim=1)
            row_done = colours.shape[1] % self.palette.row == 0
            yield Step(index, total, self.palette.decode(colours) if row_done else None, metadata=metadata)

    def log_likelihood(self, data: Tensor, noise: Noise | None = None) -> Score:
        """Return log p of images (n, c, h, w) uint8 as sequences of colours, with their dimensions as sizes.

        With K classes, p is the mean over them: p(x) = Σ_k p(x | k) / K.

        Raises:
            OptionError: The images have another shape or type than the model's.
        """
        if data.dtype != torch.uint8 or tuple(data.shape[1:]) != self.palette.shape:
            raise OptionError(
                f"This model scores 8-bit images of shape {self.palette.shape}, not {tuple(data.shape[1:])}.",
                "Resize or convert the images first.",
            )
        sequences = self.palette.encode(data / 127.5 - 1).tolist()
        by_class = torch.stack([self._log_p_by_class(sequence) for sequence in sequences])
        nats = by_class.logsumexp(1) - math.log(by_class.shape[1])
        return Score(nats, torch.full((len(data),), math.prod(self.palette.shape)))

    def _log_p_by_class(self, colours: Sequence[int]) -> Tensor:
        """Return log p(x | k) of an image, or of its upper part, for each class k: (K,) float64, K ≥ 1."""
        count = self.classes.count if self.classes else 1
        prompts = [[self.start + label, *colours] for label in range(count)]
        ids = torch.tensor(prompts, device=self.transformer.device)
        features = self.transformer.features(ids[:, :-1])
        rows = zip(features, ids[:, 1:], strict=True)
        return torch.stack(
            [token_log_likelihoods(self.transformer, row, targets).double().sum() for row, targets in rows]
        ).cpu()

    def _decode(
        self, prompts: list[list[int]], steps: int, sampler: TokenSampler, scale: float
    ) -> Iterator[Tensor]:
        """Yield the next colour of every image, (n,) int64, guided if ``scale`` is not 1."""
        if scale == 1:
            yield from decode(self.transformer, prompts, steps, sampler)
            return
        if self.classes is None or self.classes.null is None:
            raise OptionError(
                f"--guidance-scale {scale:g}: this model has no null class, which guidance needs.",
                "Omit --guidance-scale.",
            )
        null = self.start + self.classes.null
        both = prompts + [[null, *kept] for _, *kept in prompts]

        def sample(logits: Tensor) -> Tensor:
            conditional, unconditional = logits.chunk(2)
            return sampler(classifier_free_guidance(conditional, unconditional, scale)).repeat(2)

        for colours in decode(self.transformer, both, steps, sample):
            yield colours[: len(prompts)]

    def _labels(self, options: ImageOptions, noise: Noise, kept: Sequence[int]) -> list[int]:
        """Return the class of each sample; 0 for all if the model has none.

        With a kept part x, a label that is not given is drawn from p(k | x)^s: guidance by s draws the rest
        from p(x) p(k | x)^s, of which this is the part that depends on k.
        """
        if self.classes:
            weights = None
            if kept and None in options.label:
                likelihoods = self._log_p_by_class(kept)
                weights = (likelihoods * options.guidance_scale).softmax(0).tolist()
            return draw_labels(options.label, self.classes.count, noise, weights)
        if any(label is not None for label in options.label):
            raise OptionError("--label: this model has no classes.", "Omit --label.")
        return [0] * len(options.label)

    def _kept(self, image: InputImage, keep: float) -> Sequence[int]:
        """Return the colours of the upper part of the image's centre square, at the model's size."""
        c, side, _ = self.palette.shape
        pixels = image.fitted((side, side)).pixels(channels=c)
        colours: list[int] = self.palette.encode(pixels).flatten().tolist()
        count = round(keep * len(colours))
        if count == len(colours):
            raise OptionError(f"--keep {keep:g} keeps the whole input.", "Keep less, such as --keep 0.5.")
        return colours[:count]
