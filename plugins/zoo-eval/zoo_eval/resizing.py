"""Resize images to an extractor's input size, as clean-fid does.

Parmar et al. 2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", arXiv:2104.11222:
images are lossless 8-bit files. They are resized in floating point by an antialiased bicubic filter and are
not rounded to 8 bits again.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CONVENTION = "8-bit images, antialiased bicubic resizing in float32, clamped, not rounded"
GREY = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in a grey, as in Pillow (ITU-R 601)."""


def prepared(images: Tensor, size: int | tuple[int, int] | None, channels: int | None) -> Tensor:
    """Return images in the shape and range that an extractor takes.

    Args:
        images: (n, 1 or 3, h, w) uint8.
        size: Side of the square, or height and width; None keeps the size.
        channels: 1, 3, or None to keep the channels.

    Returns:
        (n, channels, height, width), floats in [-1, 1].
    """
    values = images.float()
    if channels == 1 and values.shape[1] == 3:
        values = (values * torch.tensor(GREY).view(3, 1, 1)).sum(1, keepdim=True)
    shape = (size, size) if isinstance(size, int) else size
    if shape is not None and tuple(values.shape[2:]) != shape:
        values = F.interpolate(values, shape, mode="bicubic", antialias=True).clamp(0, 255)
    if channels == 3 and values.shape[1] == 1:
        values = values.expand(-1, 3, -1, -1)
    return values / 127.5 - 1
