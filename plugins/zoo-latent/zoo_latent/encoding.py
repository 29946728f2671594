"""Capability ``encode``: images to latents and back, large ones in tiles."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from zoo_core import InputImage, OptionError
from zoo_latent.checkpoint import Autoencoder
from zoo_latent.tiling import decode_tiled, encode_tiled

LARGEST_WHOLE = 128 * 128
"""Most latents that are encoded or decoded at once; more are in tiles."""
MAX_PIXELS = 2**24
"""Most pixels of a decoded image."""


class Encoding:
    """What a pipeline and an autoencoder on its own can do alike."""

    autoencoder: Autoencoder
    device: torch.device
    dtype: torch.dtype

    def encode_image(self, image: InputImage) -> Tensor:
        """Return an image's latents, the mean of their distribution: (1, c, h/factor, w/factor) float32.

        They are scaled as the denoiser takes them. Height and width are cut down to multiples of ``factor``,
        and the image resized to them.
        """
        factor: int = self.autoencoder.config.factor
        height, width = (max(side // factor, 1) * factor for side in image.size)
        pixels = image.pixels((height, width)).to(self.device, self.dtype)
        encode: Callable[[Tensor], Tensor] = self.autoencoder.encode
        if height * width > LARGEST_WHOLE * factor**2:
            encode = partial(encode_tiled, self.autoencoder.encode, factor=factor)
        return encode(pixels).float()

    def decode_latents(self, latents: Tensor) -> Tensor:
        """Return the images of latents (n, c, h, w): (n, 3, factor·h, factor·w) in [-1, 1].

        Raises:
            OptionError: They have other channels, or too many pixels.
        """
        channels, factor = self.autoencoder.config.channels, self.autoencoder.config.factor
        if latents.dim() != 4 or latents.shape[1] != channels or not latents.numel():
            raise OptionError(
                f"The latents are of shape {tuple(latents.shape)}; this model's are "
                f"(n, {channels}, height, width).",
                "Encode the image with this model: zoo encode MODEL IMAGE -o latents.safetensors",
            )
        if factor**2 * latents.shape[2] * latents.shape[3] > MAX_PIXELS:
            raise OptionError(
                f"The image would have more than {MAX_PIXELS:,} pixels.", "Decode smaller parts of it."
            )
        return self.decode(latents.float())

    def decode(self, latents: Tensor, tiles: bool = False) -> Tensor:
        """Decode latents (n, c, h, w), one image at a time: (n, 3, factor·h, factor·w) in [-1, 1].

        With ``tiles``, or if there are many of them, each image is decoded in tiles.
        """
        decode: Callable[[Tensor], Tensor] = self.autoencoder.decode
        if tiles or latents.shape[2] * latents.shape[3] > LARGEST_WHOLE:
            decode = partial(decode_tiled, self.autoencoder.decode, factor=self.autoencoder.config.factor)
        images = [decode(each[None].to(self.dtype)).float() for each in latents]
        return torch.cat(images).clamp(-1, 1)
