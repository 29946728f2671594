"""The upscaler: an image file, and noise for its style, to an image four times as large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo_core import (
    Batch,
    Checkpoint,
    OptionError,
    Step,
    ZooError,
    image_size,
    load_network,
    read_image,
    read_options,
)
from zoo_gigagan.upsampler.network import Upsampler, UpsamplerConfig
from zoo_gigagan.upsampler.tiles import FACTOR, upscale

NOISE_STD = 1e-3
"""Standard deviation of the noise that the network was trained to expect in its input."""
TILE_BATCH = 4
"""Number of tiles at a time: with more, activations need more memory than the weights."""
MAX_PIXELS = 1 << 22
"""Most pixels of an input image; the output has sixteen times as many."""


@dataclass(frozen=True)
class UpscalingOptions:
    """Options of ``zoo run``, as zoo.toml declares them."""

    input: str | None
    overlap: bool
    noise: bool


class AuraSR:
    """A generator that upscales an image: config.json and model.safetensors.

    Raises:
        WeightsError: The config is not supported, or the weights do not fit it.
    """

    batch_size = 1

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        config = UpsamplerConfig.read(checkpoint.json("config.json"), checkpoint.source)
        self.dtype, self.device, self.config = dtype or torch.float32, device, config
        self.network = load_network(
            lambda: Upsampler(config), checkpoint.tensors("model"), checkpoint.source, self.dtype, device
        )

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Upscale the image once for each sample, each in its own style; yield a step every few tiles.

        Raises:
            OptionError: There is no input image, or it cannot be read.
        """
        options = read_options(UpscalingOptions, batch.options)
        image, alpha = read_input(options.input)
        z = batch.noise.normal(self.config.style_network.dim_in)
        noise = batch.noise.normal(*image.shape) if options.noise else None
        results = []
        for index in range(batch.n):
            noisy = image
            if noise is not None:
                noisy = (image + NOISE_STD * noise[index].cpu()).clamp(0, 1)
            for done, total, result in self._upscale(noisy, z[index : index + 1], options.overlap):
                if result is not None:
                    results.append(_add_alpha(result, alpha))
                if result is None or index < batch.n - 1:
                    yield Step(index * total + done, batch.n * total)
        total = batch.n * total
        yield Step(total, total, images=torch.stack(results))

    def _upscale(self, image: Tensor, z: Tensor, overlap: bool) -> Iterator[tuple[int, int, Tensor | None]]:
        # One style for all tiles: they match each other, and its kernels are computed once.
        kernels = self.network.kernels(self.network.style_network(z.to(self.dtype)))

        def upsample(tiles: Tensor, indices: list[int]) -> Tensor:
            pixels: Tensor = self.network(tiles.to(self.device, self.dtype), kernels)
            return pixels.clamp(0, 1)

        yield from upscale(
            image, self.config.input_image_size, upsample, overlap=overlap, batch_size=TILE_BATCH
        )


def read_input(path: str | None) -> tuple[Tensor, Image.Image | None]:
    """Read an image file: its colours (3, h, w) in [0, 1], and its alpha channel if it has transparency.

    Raises:
        OptionError: There is no path, or the file is not an image, animated, or too large.
    """
    if path is None:
        raise OptionError("There is no image to upscale.", "Give one: --input photo.png")
    try:
        width, height = image_size(Path(path))
        image = read_image(Path(path), keep_alpha=True) if width * height <= MAX_PIXELS else None
    except ZooError as error:
        raise OptionError(f"--input {error.message}", "Give a PNG or JPEG file.") from error
    if image is None:
        raise OptionError(
            f"--input {path} is too large: {width}×{height} pixels; at most {MAX_PIXELS:,} in all can be "
            "upscaled.",
            "Crop or shrink it first.",
        )
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    array = np.array(image.convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1).float() / 255, alpha


def _add_alpha(result: Tensor, alpha: Image.Image | None) -> Tensor:
    """Return a result (3, h, w) in [0, 1] as (3 or 4, h, w) in [-1, 1], with alpha upscaled bicubically."""
    rgb = (result * 2 - 1).clamp(-1, 1)  # where tiles are blended, 1 may become 1.0000001
    if alpha is None:
        return rgb
    large = alpha.resize((FACTOR * alpha.width, FACTOR * alpha.height), Image.Resampling.BICUBIC)
    opacity = torch.from_numpy(np.array(large)).float() / 127.5 - 1
    return torch.cat([rgb, opacity[None]])
