"""The image that a network upscales, and the result with its transparency."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo_core.data.input_image import InputImage
from zoo_core.errors import OptionError

MAX_PIXELS = 1 << 22
"""Most pixels of an input image; the output has sixteen times as many."""


def image_to_upscale(given: InputImage) -> tuple[Tensor, Image.Image | None]:
    """Return the colours of an image, (3, h, w) in [0, 1], and its alpha channel if it has transparency.

    Raises:
        OptionError: It has more than MAX_PIXELS.
    """
    image = given.image
    if image.width * image.height > MAX_PIXELS:
        raise OptionError(
            f"--input is too large: {image.width} × {image.height} pixels; at most {MAX_PIXELS:,} in all can "
            "be upscaled.",
            "Crop or shrink it first.",
        )
    alpha = image.getchannel("A") if image.mode == "RGBA" else None
    array = np.array(image.convert("RGB"))
    return torch.from_numpy(array).permute(2, 0, 1).float() / 255, alpha


def no_image_to_upscale() -> OptionError:
    """Return the error of an upscaler that is run without an image."""
    return OptionError("There is no image to upscale.", "Give one: --input photo.png")


def upscaled_image(result: Tensor, alpha: Image.Image | None) -> Tensor:
    """Return a result (3, h, w) in [0, 1] as (3 or 4, h, w) in [-1, 1], with alpha upscaled bicubically."""
    rgb = (result * 2 - 1).clamp(-1, 1)  # where tiles are blended, 1 may become 1.0000001
    if alpha is None:
        return rgb
    large = alpha.resize((result.shape[2], result.shape[1]), Image.Resampling.BICUBIC)
    opacity = torch.from_numpy(np.array(large)).float() / 127.5 - 1
    return torch.cat([rgb, opacity[None]])
