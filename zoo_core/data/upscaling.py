"""The image that a network upscales, and the result with its transparency."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from zoo_core.data.images import image_size, read_image
from zoo_core.errors import OptionError, ZooError

MAX_PIXELS = 1 << 22
"""Most pixels of an input image; the output has sixteen times as many."""


def read_image_to_upscale(path: str | None) -> tuple[Tensor, Image.Image | None]:
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


def upscaled_image(result: Tensor, alpha: Image.Image | None) -> Tensor:
    """Return a result (3, h, w) in [0, 1] as (3 or 4, h, w) in [-1, 1], with alpha upscaled bicubically."""
    rgb = (result * 2 - 1).clamp(-1, 1)  # where tiles are blended, 1 may become 1.0000001
    if alpha is None:
        return rgb
    large = alpha.resize((result.shape[2], result.shape[1]), Image.Resampling.BICUBIC)
    opacity = torch.from_numpy(np.array(large)).float() / 127.5 - 1
    return torch.cat([rgb, opacity[None]])
