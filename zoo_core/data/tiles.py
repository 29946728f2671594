"""Upscale an image tile by tile and without seams.

For a network of one size: with overlap there are two passes, the second offset by half a tile. Each pass
weights the middle of its tiles most, so that the seams of neither show. For a convolutional network: each
tile is upscaled with what surrounds it, a halo as wide as the network looks, and the halo is cut off.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

SIGMA, SHARPNESS = 0.5, 8
"""The weight of a pixel, by its distance from the tile's middle, is a Gaussian raised to a power."""


class Tile(NamedTuple):
    """The upper left corner of a square of the input image, which is mirrored where the tile exceeds it."""

    top: int
    left: int


def tiles(height: int, width: int, side: int, *, overlap: bool) -> list[Tile]:
    """Return the tiles that cover an image, row by row, with those of the second pass if ``overlap``."""
    rows, columns = -(-height // side), -(-width // side)
    found = [Tile(i * side, j * side) for i in range(rows) for j in range(columns)]
    if overlap:
        half = side // 2
        found += [Tile(i * side - half, j * side - half) for i in range(rows + 1) for j in range(columns + 1)]
    return found


def mirrored(indices: Tensor, size: int) -> Tensor:
    """Reflect indices into [0, size): ``size`` becomes ``size`` − 2."""
    if size == 1:
        return torch.zeros_like(indices)
    period = 2 * (size - 1)
    indices = indices.remainder(period)
    return torch.minimum(indices, period - indices)


def crop(image: Tensor, tile: Tile, side: int, padded: tuple[int, int]) -> Tensor:
    """Return a tile of an image (c, h, w): (c, side, side).

    The image is mirrored up to the height and width ``padded``, multiples of the side; beyond that, the
    padded image is mirrored.
    """
    rows, columns = (
        mirrored(mirrored(torch.arange(start, start + side), whole), size)
        for start, whole, size in zip(tile, padded, image.shape[1:], strict=True)
    )
    return image[:, rows][:, :, columns]


def weights(side: int) -> Tensor:
    """Return the weight of each pixel of an output tile where the passes overlap, (side, side).

    Both passes have the same weights: with those of the other pass, half a tile off, they add up to 1.
    """
    at = torch.linspace(-1, 1, side)
    distance = torch.hypot(at[:, None], at[None, :])
    own = torch.exp(-(distance**2) / (2 * SIGMA**2)) ** SHARPNESS
    other = own.roll((side // 2, side // 2), (0, 1))
    return own / (own + other)


def upscale_tiles(
    image: Tensor,
    side: int,
    factor: int,
    upsample: Callable[[Tensor, list[int]], Tensor],
    *,
    halo: int = 0,
    overlap: bool = False,
    batch_size: int = 8,
    weight: Tensor | None = None,
) -> Iterator[tuple[int, int, Tensor | None]]:
    """Upscale an image tile by tile.

    Args:
        image: (3, h, w) in [0, 1].
        side: Side of an input tile.
        factor: Output side over input side.
        upsample: Maps tiles (n, 3, s, s) and their indices to (n, 3, factor s, factor s) in [0, 1]; s is the
            side with the halo on either side of it.
        halo: Pixels around a tile that are upscaled with it and cut off; the image is mirrored at its edges.
        overlap: Whether to make a second pass.
        batch_size: Number of tiles at a time.
        weight: Weight of each pixel of an output tile, (factor side, factor side); None: :func:`weights`.

    Yields:
        The number of tiles done, their total, and with the last tile the result, (3, factor h, factor w).
    """
    _, height, width = image.shape
    padded = (math.ceil(height / side) * side, math.ceil(width / side) * side)
    if halo:
        padded = (height, width)  # one tile then sees what its neighbours see
    places = tiles(height, width, side, overlap=overlap)
    out = torch.zeros(3, factor * height, factor * width)
    if overlap and weight is None:
        weight = weights(factor * side)
    for start in range(0, len(places), batch_size):
        indices = list(range(start, min(start + batch_size, len(places))))
        cropped = [_with_halo(image, places[i], side, halo, padded) for i in indices]
        upsampled = upsample(torch.stack(cropped), indices)
        if halo:
            inside = slice(factor * halo, factor * (halo + side))
            upsampled = upsampled[:, :, inside, inside]
        for index, pixels in zip(indices, upsampled, strict=True):
            pixels = pixels.float().cpu()
            _add(out, pixels if weight is None else pixels * weight, places[index], factor)
        done = indices[-1] + 1
        yield done, len(places), out if done == len(places) else None


def _with_halo(image: Tensor, tile: Tile, side: int, halo: int, padded: tuple[int, int]) -> Tensor:
    return crop(image, Tile(tile.top - halo, tile.left - halo), side + 2 * halo, padded)


def _add(out: Tensor, pixels: Tensor, tile: Tile, factor: int) -> None:
    """Add an output tile in its place, cropped to the image."""
    side = pixels.shape[1]
    top, left = factor * tile.top, factor * tile.left
    bottom, right = min(top + side, out.shape[1]), min(left + side, out.shape[2])
    first, second = max(-top, 0), max(-left, 0)
    if top + first < bottom and left + second < right:
        out[:, top + first : bottom, left + second : right] += pixels[
            :, first : bottom - top, second : right - left
        ]
