"""Decode large latents in tiles that overlap, and blend them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

TILE, OVERLAP = 48, 16
"""Side of a tile and of what two tiles share, in latents."""


def decode_tiled(decode: Callable[[Tensor], Tensor], latents: Tensor, factor: int) -> Tensor:
    """Decode latents (n, c, h, w) tile by tile: (n, 3, factor·h, factor·w).

    Where tiles overlap, the weight of each falls linearly towards its edge. A pixel's colour depends a little
    on its tile, because the decoder normalises over all of it; the blend hides that.
    """
    n, _, height, width = latents.shape
    image = torch.zeros(n, 3, factor * height, factor * width, device=latents.device)
    total = torch.zeros(1, 1, *image.shape[2:], device=latents.device)
    for top in _starts(height):
        for left in _starts(width):
            tile = decode(latents[:, :, top : top + TILE, left : left + TILE]).float()
            weight = _ramp(tile.shape[2], factor)[:, None] * _ramp(tile.shape[3], factor)
            weight = weight.to(image)
            rows = slice(factor * top, factor * top + tile.shape[2])
            columns = slice(factor * left, factor * left + tile.shape[3])
            image[:, :, rows, columns] += tile * weight
            total[:, :, rows, columns] += weight
    return image / total


def _starts(size: int) -> Iterator[int]:
    """Yield where tiles begin along a side: the last one ends with it, none is smaller than it must be."""
    last = max(size - TILE, 0)
    count = -(-last // (TILE - OVERLAP)) + 1
    for i in range(count):
        yield round(i * last / max(count - 1, 1))


def _ramp(size: int, factor: int) -> Tensor:
    """Return weights (size,) that rise from the edges over the overlap."""
    place = torch.arange(size, dtype=torch.float32)
    distance = torch.minimum(place, size - 1 - place) + 1
    return (distance / (OVERLAP * factor)).clamp(max=1)
