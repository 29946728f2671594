"""The upscaler: an image file, and noise for its style, to an image four times as large."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from zoo_core import (
    Batch,
    Checkpoint,
    InputImage,
    Step,
    image_to_upscale,
    load_network,
    no_image_to_upscale,
    read_options,
    upscale_tiles,
    upscaled_image,
)
from zoo_gigagan.upsampler.network import FACTOR, Upsampler, UpsamplerConfig

NOISE_STD = 1e-3
"""Standard deviation of the noise that the network was trained to expect in its input."""
TILE_BATCH = 4
"""Number of tiles at a time: with more, activations need more memory than the weights."""


@dataclass(frozen=True)
class UpscalingOptions:
    """Options of ``zoo run``, as zoo.toml declares them."""

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
        """Raise OptionError: an upscaler begins with an image."""
        raise no_image_to_upscale()

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        """Upscale the image once for each sample, each in its own style; yield a step every few tiles.

        Raises:
            OptionError: The image is too large.
        """
        options = read_options(UpscalingOptions, batch.options)
        colours, alpha = image_to_upscale(image)
        z = batch.noise.normal(self.config.style_network.dim_in)
        noise = batch.noise.normal(*colours.shape) if options.noise else None
        results = []
        for index in range(batch.n):
            noisy = colours
            if noise is not None:
                noisy = (colours + NOISE_STD * noise[index].cpu()).clamp(0, 1)
            for done, total, result in self._upscale(noisy, z[index : index + 1], options.overlap):
                if result is not None:
                    results.append(upscaled_image(result, alpha))
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

        yield from upscale_tiles(
            image, self.config.input_image_size, FACTOR, upsample, overlap=overlap, batch_size=TILE_BATCH
        )
