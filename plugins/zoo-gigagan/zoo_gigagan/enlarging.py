"""The generator of larger images: an image, and noise for its style, to one four times as large."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zoo_core import Batch, Checkpoint, OptionError, Step, load_weights
from zoo_gigagan.checkpoint import read_upsampler
from zoo_gigagan.tiles import FACTOR, upscale
from zoo_gigagan.upsampler import Upsampler

NOISE = 1e-3
"""Deviation of the noise that images had in training."""
TILES = 4
"""Tiles at once: of more, the maps take more memory than the weights do."""
MOST_PIXELS = 1 << 22
"""Of an image to enlarge: the result has sixteen times as many."""


class AuraSR:
    """An upsampler ready to draw.

    Args:
        checkpoint: config.json and model.safetensors.
        device: Where to compute.
        dtype: Type to compute in; None is float32.

    Raises:
        WeightsError: The checkpoint holds no upsampler.
    """

    batch_size = 1

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        config = read_upsampler(checkpoint.json("config.json"), checkpoint.source)
        self.dtype, self.device = dtype or torch.float32, device
        with torch.device("meta"):
            self.network = Upsampler(config)
        load_weights(self.network, checkpoint.tensors("model"), checkpoint.source, self.dtype, device)
        self.network.eval().requires_grad_(False)
        self.config = config

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Draw the image once for each sample, each in a style of its own; a step for every few tiles.

        Raises:
            OptionError: There is no image to enlarge, or none that can be read.
        """
        image, alpha = read_image(batch.options.input)
        z = batch.noise.normal(self.config.style_network["dim_in"])
        grain = batch.noise.normal(*image.shape) if batch.options.noise else None
        results = []
        for index in range(batch.n):
            given = image
            if grain is not None:
                given = (image + NOISE * grain[index].cpu()).clamp(0, 1)
            for done, total, result in self._draw(given, z[index : index + 1], batch.options):
                if result is not None:
                    results.append(_with_alpha(result, alpha))
                if result is None or index < batch.n - 1:
                    yield Step(index * total + done, batch.n * total)
        total = batch.n * total
        yield Step(total, total, images=torch.stack(results))

    def _draw(
        self, image: Tensor, z: Tensor, options: SimpleNamespace
    ) -> Iterator[tuple[int, int, Tensor | None]]:
        # One style for all tiles: they fit each other, and its kernels are computed once.
        kernels = self.network.kernels(self.network.style_network(z.to(self.dtype)))

        def draw(tiles: Tensor, numbers: list[int]) -> Tensor:
            drawn: Tensor = self.network(tiles.to(self.device, self.dtype), kernels)
            return drawn.clamp(0, 1)

        yield from upscale(
            image, self.config.input_image_size, draw, overlap=options.overlap, batch_size=TILES
        )


def read_image(path: str | None) -> tuple[Tensor, Image.Image | None]:
    """Read an image file: (3, h, w) in [0, 1], and how opaque it is where it is not all opaque.

    Raises:
        OptionError: No path, no image, an animation, or one too large.
    """
    if path is None:
        raise OptionError("There is no image to enlarge.", "Give one: --input photo.png")
    try:
        with Image.open(path) as file:
            if getattr(file, "n_frames", 1) > 1:
                raise OptionError(f"--input {path} is animated.", "Save one of its frames as a PNG.")
            if file.width * file.height > MOST_PIXELS:
                size = f"{file.width}×{file.height}"
                raise OptionError(
                    f"--input {path} has {size} pixels; at most {MOST_PIXELS:,} are enlarged.",
                    "Cut or scale it first.",
                )
            image = ImageOps.exif_transpose(file)
            alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
            array = np.array(image.convert("RGB"))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise OptionError(
            f"--input {path} cannot be read as an image.", "Give a PNG or JPEG file."
        ) from error
    return torch.from_numpy(array).permute(2, 0, 1).float() / 255, alpha


def _with_alpha(result: Tensor, alpha: Image.Image | None) -> Tensor:
    """Return a result (3, h, w) in [0, 1] as (3 or 4, h, w) in [-1, 1]."""
    scaled = (result * 2 - 1).clamp(-1, 1)  # where tiles are blended, 1 may become 1.0000001
    if alpha is None:
        return scaled
    large = alpha.resize((FACTOR * alpha.width, FACTOR * alpha.height), Image.Resampling.BICUBIC)
    opaque = torch.from_numpy(np.array(large)).float() / 127.5 - 1
    return torch.cat([scaled, opaque[None]])
