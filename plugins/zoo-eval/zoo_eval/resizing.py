"""How images come to the size that an extractor takes, as clean-fid does it.

Parmar et al. 2022, "On Aliased Resizing and Surprising Subtleties in GAN Evaluation", arXiv:2104.11222:
samples are looked at in the 8 bits they are written in, and without loss; they are resized by a bicubic
filter that widens where the image shrinks, in floating point, and are not rounded to 8 bits again.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

CONVENTION = "8-bit samples, antialiased bicubic in float32, clamped and not rounded"
GREY = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in a grey, as Pillow has them (ITU-R 601)."""


def prepared(images: Tensor, size: int | tuple[int, int] | None, channels: int | None) -> Tensor:
    """Return images as an extractor takes them.

    Args:
        images: (n, 1 or 3, h, w) uint8.
        size: Side of the squares wanted, or height and width; None keeps these.
        channels: 1, 3, or None, which keeps them.

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
