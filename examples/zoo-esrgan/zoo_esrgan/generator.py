"""The upscaler: an image file to an image four times as large, tile by tile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from zoo_core import (
    Batch,
    Checkpoint,
    InputImage,
    Step,
    image_to_upscale,
    load_network,
    no_image_to_upscale,
    read_config,
    read_options,
    upscale_tiles,
    upscaled_image,
)
from zoo_esrgan.network import FACTOR, Compact, CompactNetwork, Dense, DenseNetwork


@dataclass(frozen=True)
class UpscalingOptions:
    """Options of ``zoo run``, as zoo.toml declares them."""

    tile: int


class ESRGAN:
    """A generator that upscales an image: config.json and model.safetensors.

    Raises:
        WeightsError: The config is not supported, or the weights do not fit it.
    """

    batch_size = 1

    def __init__(
        self, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None = None
    ) -> None:
        config = checkpoint.json("config.json")
        ignored = ("model_type", "network", "zoo")
        build: Callable[[], nn.Module]
        if config.get("network") == "compact":
            compact = read_config(Compact, config, checkpoint.source, ignore=ignored)
            build, self.halo = partial(CompactNetwork, compact), compact.halo
        else:
            dense = read_config(Dense, config, checkpoint.source, ignore=ignored)
            build, self.halo = partial(DenseNetwork, dense), dense.halo
        self.dtype, self.device = dtype or torch.float32, device
        self.network = load_network(build, checkpoint.tensors("model"), checkpoint.source, self.dtype, device)

    def generate(self, batch: Batch) -> Iterator[Step]:
        """Raise OptionError: an upscaler begins with an image."""
        raise no_image_to_upscale()

    def edit(self, batch: Batch, image: InputImage) -> Iterator[Step]:
        """Upscale the image. Every seed gives the same, because the network takes no noise.

        Raises:
            OptionError: The image is too large.
        """
        options = read_options(UpscalingOptions, batch.options)
        colours, alpha = image_to_upscale(image)
        side = options.tile or max(colours.shape[1:])

        def upsample(tiles: Tensor, indices: list[int]) -> Tensor:
            pixels: Tensor = self.network(tiles.to(self.device, self.dtype))
            return pixels.float().clamp(0, 1)

        for done, total, result in upscale_tiles(
            colours, side, FACTOR, upsample, halo=self.halo, batch_size=1
        ):
            if result is None:
                yield Step(done, total)
            else:
                images = upscaled_image(result, alpha).expand(batch.n, -1, -1, -1)
                yield Step(total, total, images=images)
