"""The generator of images: ImageGPT, which goes on with a sequence of colours, pixel by pixel.

One of our own may know classes, each with a token of its own to begin with, and may fill a patch of pixels at
once: the table ``zoo`` in its config.json says so.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zoo_core import Batch, Checkpoint, Noise, OptionError, Score, Step, draw_labels
from zoo_gpt import checkpoint as layout
from zoo_gpt.choosing import Chooser
from zoo_gpt.classes import Classes
from zoo_gpt.colours import Palette
from zoo_gpt.decoding import comfortable_batch, decode
from zoo_gpt.fast import fastest_dtype, prepare_for_sampling
from zoo_gpt.likelihood import scores
from zoo_gpt.llamagen import guided


class ImageGPT:
    """An image model ready to draw, to complete and to score.

    Args:
        checkpoint: In the layout of openai/imagegpt-small, with its preprocessor_config.json.
        device: Where to compute.
        dtype: Type of the weights; None is the fastest in which a sample does not depend on its batch.

    Raises:
        WeightsError: The checkpoint holds no model of this kind, or asks for something unknown.
    """

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        parts = layout.read(checkpoint)
        preprocessor = checkpoint.json("preprocessor_config.json")
        name = f"{checkpoint.source}: preprocessor_config.json"
        zoo = parts.config_json.get("zoo") or {}
        self.classes = Classes.of(zoo, f"{checkpoint.source}: config.json")
        self.palette = Palette.read(preprocessor, parts.config.context, name, zoo.get("patch", 1))
        self.dtype = dtype or fastest_dtype(device)
        self.transformer = prepare_for_sampling(parts.build(), device, self.dtype)
        self.batch_size = comfortable_batch(parts.config)
        self.start = parts.config.vocab_out
        """The token that begins an image, or one of the first class: the first one after the colours."""

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's images, or what is missing of one; each row that is done is a preview.

        Raises:
            OptionError: ``input`` cannot be read, ``keep`` keeps all of it, or the model has no such class or
                cannot be guided.
        """
        options = batch.options
        given = self._given(options.input, options.keep)
        labels = self._labels(batch, given)
        metadata = tuple(map(self.classes.about, labels)) if self.classes else None
        prompts = [[self.start + label, *given] for label in labels]
        total = self.palette.row**2 - len(given)
        colours = torch.tensor(given, dtype=torch.long).repeat(batch.n, 1)
        choose = Chooser(options, prompts, batch.noise, self.transformer.config.vocab_out, total)
        for index, tokens in enumerate(self._decode(prompts, total, choose, options), start=1):
            colours = torch.cat([colours, tokens[:, None].cpu()], dim=1)
            shown = colours.shape[1] % self.palette.row == 0
            yield Step(index, total, self.palette.decode(colours) if shown else None, metadata=metadata)

    def log_likelihood(self, data: Tensor, noise: Noise | None = None) -> Score:
        """Return log p of images (n, c, h, w) uint8 as sequences of colours, their values as sizes.

        Of a model with K classes, p is the mean over them: p(x) = Σ_k p(x | k) / K.

        Raises:
            OptionError: The images have another shape or type than the model's.
        """
        if data.dtype != torch.uint8 or tuple(data.shape[1:]) != self.palette.shape:
            raise OptionError(
                f"The model scores images of shape {self.palette.shape} in 8 bits, "
                f"not {tuple(data.shape[1:])}.",
                "Resize or convert them first.",
            )
        sequences = self.palette.encode(data / 127.5 - 1).tolist()
        nats = torch.stack([self._log_p(sequence) for sequence in sequences])
        return Score(nats, torch.full((len(data),), math.prod(self.palette.shape)))

    def _log_p(self, colours: Sequence[int]) -> Tensor:
        """Return log p of one image, float64."""
        by_class = self._log_p_by_class(colours)
        return by_class.logsumexp(0) - math.log(len(by_class))

    def _log_p_by_class(self, colours: Sequence[int]) -> Tensor:
        """Return log p(x | k) of an image or its beginning for each class k, (K,) float64; 1 without."""
        count = len(self.classes.names) if self.classes else 1
        prompts = [[self.start + label, *colours] for label in range(count)]
        ids = torch.tensor(prompts, device=self.transformer.device)
        features = self.transformer.features(ids[:, :-1])
        rows = zip(features, ids[:, 1:], strict=True)
        return torch.stack(
            [scores(self.transformer, row, following).double().sum() for row, following in rows]
        ).cpu()

    def _decode(
        self, prompts: list[list[int]], steps: int, choose: Chooser, options: SimpleNamespace
    ) -> Iterator[Tensor]:
        """Yield the next colour of every image, (n,) int64, guided if asked."""
        scale = options.guidance_scale
        if scale == 1:
            yield from decode(self.transformer, prompts, steps, choose)
            return
        if self.classes is None or not self.classes.null:
            raise OptionError(
                f"--guidance-scale {scale:g}: this model cannot be guided, for it has no null class.",
                "Leave out --guidance-scale.",
            )
        null = self.start + len(self.classes.names)
        both = prompts + [[null, *given] for _, *given in prompts]
        for colours in decode(
            self.transformer, both, steps, lambda logits: choose(guided(logits, scale)).repeat(2)
        ):
            yield colours[: len(prompts)]

    def _labels(self, batch: Batch, kept: Sequence[int]) -> list[int]:
        """The class of each sample; 0 for all of them where there are none.

        One that is not given is drawn from p(k | x)^s of the part x that is kept, where there is one:
        guidance by s draws the rest from p(x) p(k | x)^s, and this from what that says of k.
        """
        given = batch.options.label
        if self.classes:
            weights = None
            if kept and None in given:
                likelihoods = self._log_p_by_class(kept)
                weights = (likelihoods * batch.options.guidance_scale).softmax(0).tolist()
            return draw_labels(given, len(self.classes.names), batch.noise, weights)
        if any(label is not None for label in given):
            raise OptionError("--label: this model has no classes.", "Leave out --label.")
        return [0] * batch.n

    def _given(self, path: str | None, keep: float) -> Sequence[int]:
        """The colours of the upper part of an image that is to be completed; none without one."""
        if path is None:
            return []
        colours: list[int] = self.palette.encode(self._open(path)).flatten().tolist()
        count = round(keep * len(colours))
        if count == len(colours):
            raise OptionError(f"--keep {keep:g} leaves nothing to draw.", "Keep less, such as --keep 0.5.")
        return colours[:count]

    def _open(self, path: str) -> Tensor:
        """Read an image file as (1, c, side, side) in [-1, 1], its middle square at the model's size."""
        c, side, _ = self.palette.shape
        try:
            with Image.open(Path(path).expanduser()) as file:
                upright = ImageOps.exif_transpose(file).convert("RGB" if c == 3 else "L")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise OptionError(
                f"{path} cannot be read as an image.", "Give --input a PNG or JPEG file."
            ) from error
        square = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
        values = torch.from_numpy(np.array(square)).view(1, side, side, c).permute(0, 3, 1, 2)
        return values / 127.5 - 1
