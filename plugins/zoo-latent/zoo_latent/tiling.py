"""Encode large images, and decode large latents, in tiles that overlap, and blend them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

TILE, OVERLAP = 48, 16
"""Side of a tile and of what two tiles share, in latents."""


def decode_tiled(decode: Callable[[Tensor], Tensor], latents: Tensor, factor: int) -> Tensor:
    """Decode latents (n, c, h, w) tile by tile: (n, 3, factor·h, factor·w).

    A pixel's colour depends a little on its tile, because the decoder normalises over all of it; the blend
    hides that.
    """
    return _tiled(decode, latents, 1, factor)


def encode_tiled(encode: Callable[[Tensor], Tensor], images: Tensor, factor: int) -> Tensor:
    """Encode images (n, 3, H, W), of sides that ``factor`` divides, in tiles: (n, c, H/factor, W/factor)."""
    return _tiled(encode, images, factor, 1)


def _tiled(apply: Callable[[Tensor], Tensor], x: Tensor, grain: int, fineness: int) -> Tensor:
    """Apply a function to tiles of x (n, c, grain·h, grain·w), of which it makes (n, …, fineness·h, …·w).

    Where tiles overlap, the weight of each falls linearly towards its edge.
    """
    height, width = x.shape[2] // grain, x.shape[3] // grain
    out, total = torch.zeros(0), torch.zeros(0)
    for top in _starts(height):
        for left in _starts(width):
            rows, columns = (slice(grain * i, grain * (i + TILE)) for i in (top, left))
            tile = apply(x[:, :, rows, columns]).float()
            if not out.numel():
                out = tile.new_zeros(*tile.shape[:2], fineness * height, fineness * width)
                total = torch.zeros_like(out[:1, :1])
            weight = _ramp(tile.shape[2], fineness)[:, None] * _ramp(tile.shape[3], fineness)
            weight = weight.to(out)
            rows = slice(fineness * top, fineness * top + tile.shape[2])
            columns = slice(fineness * left, fineness * left + tile.shape[3])
            out[:, :, rows, columns] += tile * weight
            total[:, :, rows, columns] += weight
    return out / total


def _starts(size: int) -> Iterator[int]:
    """Yield where tiles begin along a side: the last one ends with it, none is smaller than it must be."""
    last = max(size - TILE, 0)
    count = -(-last // (TILE - OVERLAP)) + 1
    for i in range(count):
        yield round(i * last / max(count - 1, 1))


def _ramp(size: int, fineness: int) -> Tensor:
    """Return weights (size,) that rise from the edges over the overlap."""
    place = torch.arange(size, dtype=torch.float32)
    distance = torch.minimum(place, size - 1 - place) + 1
    return (distance / (OVERLAP * fineness)).clamp(max=1)
