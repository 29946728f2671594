"""The generator of pictures: ImageGPT, which goes on with a sequence of colours, pixel by pixel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zoo_core import Batch, Checkpoint, Noise, OptionError, Score, Step
from zoo_gpt import checkpoint as layout
from zoo_gpt.choosing import Chooser
from zoo_gpt.colours import Palette
from zoo_gpt.decoding import decode
from zoo_gpt.likelihood import log_likelihoods


class ImageGPT:
    """An image model ready to draw, to complete and to score.

    Args:
        checkpoint: In the layout of openai/imagegpt-small, with its preprocessor_config.json.
        device: Where to compute.
        dtype: Type to compute in; None is float32, in which a sample does not depend on its batch.

    Raises:
        WeightsError: The checkpoint holds no model of this kind, or asks for something unknown.
    """

    batch_size = 8

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        parts = layout.read(checkpoint)
        preprocessor = checkpoint.json("preprocessor_config.json")
        name = f"{checkpoint.source}: preprocessor_config.json"
        self.palette = Palette.read(preprocessor, parts.config.context, name)
        self.dtype = dtype or torch.float32
        self.transformer = parts.build().to(device, self.dtype)
        self.start = parts.config.vocab_out
        """The token that begins a picture, the first one after the colours."""

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the batch's pictures, or what is missing of one; each row that is done is a preview.

        Raises:
            OptionError: ``input`` cannot be read, or ``keep`` keeps all of it.
        """
        given = self._given(batch.options.input, batch.options.keep)
        prompts = [[self.start, *given]] * batch.n
        side = self.palette.side
        total = side * side - len(given)
        colours = torch.tensor(given, dtype=torch.long).repeat(batch.n, 1)
        choose = Chooser(batch.options, prompts, batch.noise, self.transformer.config.vocab_out, total)
        for index, tokens in enumerate(decode(self.transformer, prompts, total, choose), start=1):
            colours = torch.cat([colours, tokens[:, None].cpu()], dim=1)
            shown = colours.shape[1] % side == 0
            yield Step(index, total, images=self.palette.decode(colours) if shown else None)

    def log_likelihood(self, data: Tensor, noise: Noise | None = None) -> Score:
        """Return log p of pictures (n, c, h, w) uint8 as sequences of colours, their values as sizes.

        Raises:
            OptionError: The pictures have another shape or type than the model's.
        """
        if data.dtype != torch.uint8 or tuple(data.shape[1:]) != self.palette.shape:
            raise OptionError(
                f"The model scores pictures of shape {self.palette.shape} in 8 bits, "
                f"not {tuple(data.shape[1:])}.",
                "Resize or convert them first.",
            )
        sequences = self.palette.encode(data / 127.5 - 1).tolist()
        nats = [log_likelihoods(self.transformer, [self.start, *seq]).double().sum() for seq in sequences]
        return Score(torch.stack(nats), torch.full((len(data),), math.prod(self.palette.shape)))

    def _given(self, path: str | None, keep: float) -> Sequence[int]:
        """The colours of the upper part of a picture that is to be completed; none without one."""
        if path is None:
            return []
        colours: list[int] = self.palette.encode(self._open(path)).flatten().tolist()
        count = round(keep * len(colours))
        if count == len(colours):
            raise OptionError(f"--keep {keep:g} leaves nothing to draw.", "Keep less, such as --keep 0.5.")
        return colours[:count]

    def _open(self, path: str) -> Tensor:
        """Read a picture file as (1, c, side, side) in [-1, 1], its middle square at the model's size."""
        c, side, _ = self.palette.shape
        try:
            with Image.open(Path(path).expanduser()) as file:
                upright = ImageOps.exif_transpose(file).convert("RGB" if c == 3 else "L")
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise OptionError(
                f"{path} cannot be read as a picture.", "Give --input a PNG or JPEG file."
            ) from error
        square = ImageOps.fit(upright, (side, side), Image.Resampling.LANCZOS)
        values = torch.from_numpy(np.array(square)).view(1, side, side, c).permute(0, 3, 1, 2)
        return values / 127.5 - 1
