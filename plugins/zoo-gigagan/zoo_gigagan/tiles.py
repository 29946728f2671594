"""An image of any size through a network of one size: cut into tiles, and put together without seams.

With overlap there are two passes, the second with tiles that lie half a tile off; each counts most in the
middle of its own tiles, so that no seam of either is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

FACTOR = 4
"""How many times as large the network draws."""
SIGMA, SHARPNESS = 0.5, 8
"""Of the weight of a pixel by its distance from the middle of its tile: a Gaussian, raised to a power."""


@dataclass(frozen=True)
class Tile:
    """A square of the image to be read."""

    top: int
    """Row and column of its upper left corner. Where a tile reaches beyond, the image goes on mirrored."""
    left: int
    second: bool
    """Whether it is of the second pass."""


def tiles(height: int, width: int, side: int, *, overlap: bool) -> list[Tile]:
    """Return the tiles that cover an image, row by row, and with ``overlap`` those of the second pass."""
    rows, columns = -(-height // side), -(-width // side)
    found = [Tile(i * side, j * side, False) for i in range(rows) for j in range(columns)]
    if overlap:
        half = side // 2
        found += [
            Tile(i * side - half, j * side - half, True) for i in range(rows + 1) for j in range(columns + 1)
        ]
    return found


def mirrored(places: Tensor, size: int) -> Tensor:
    """Return the places inside [0, size) that others beyond it mirror: size itself is size − 2 again."""
    if size == 1:
        return torch.zeros_like(places)
    period = 2 * (size - 1)
    places = places.remainder(period)
    return torch.minimum(places, period - places)


def cut(image: Tensor, tile: Tile, side: int, padded: tuple[int, int]) -> Tensor:
    """Return a tile of an image (c, h, w), (c, side, side).

    The image is mirrored up to the height and width ``padded``, multiples of the side, and what that gives
    is mirrored again beyond.
    """
    rows, columns = (
        mirrored(mirrored(torch.arange(start, start + side), whole), size)
        for start, whole, size in zip((tile.top, tile.left), padded, image.shape[1:], strict=True)
    )
    return image[:, rows][:, :, columns]


def weights(side: int) -> Tensor:
    """Return what each pixel of a drawn tile counts where the two passes overlap, (side, side).

    Both passes have the same: what is missing to 1 is that of the other, half a tile off.
    """
    at = torch.linspace(-1, 1, side)
    distance = torch.hypot(at[:, None], at[None, :])
    own = torch.exp(-(distance**2) / (2 * SIGMA**2)) ** SHARPNESS
    other = own.roll((side // 2, side // 2), (0, 1))
    return own / (own + other)


def upscale(
    image: Tensor,
    side: int,
    draw: Callable[[Tensor, list[int]], Tensor],
    *,
    overlap: bool = False,
    batch_size: int = 8,
    weight: Tensor | None = None,
) -> Iterator[tuple[int, int, Tensor | None]]:
    """Draw an image four times as large, tile by tile.

    Args:
        image: (3, h, w) in [0, 1].
        side: Of the tiles that the network reads.
        draw: Maps tiles (n, 3, side, side), and their numbers, to what is drawn of them, in [0, 1].
        overlap: Whether there is a second pass.
        batch_size: Tiles at once.
        weight: Of a pixel by its place in its tile, (4 side, 4 side); :func:`weights` by default.

    Yields:
        Tiles done and tiles in all, and with the last the result, (3, 4h, 4w).
    """
    _, height, width = image.shape
    padded = (math.ceil(height / side) * side, math.ceil(width / side) * side)
    places = tiles(height, width, side, overlap=overlap)
    out = torch.zeros(3, FACTOR * height, FACTOR * width)
    if overlap and weight is None:
        weight = weights(FACTOR * side)
    for start in range(0, len(places), batch_size):
        numbers = list(range(start, min(start + batch_size, len(places))))
        drawn = draw(torch.stack([cut(image, places[i], side, padded) for i in numbers]), numbers)
        for number, made in zip(numbers, drawn, strict=True):
            made = made.float().cpu()
            _add(out, made if weight is None else made * weight, places[number])
        done = numbers[-1] + 1
        yield done, len(places), out if done == len(places) else None


def _add(out: Tensor, made: Tensor, tile: Tile) -> None:
    """Add what was drawn of a tile where it belongs, as far as it lies inside."""
    side = made.shape[1]
    top, left = FACTOR * tile.top, FACTOR * tile.left
    bottom, right = min(top + side, out.shape[1]), min(left + side, out.shape[2])
    first, second = max(-top, 0), max(-left, 0)
    if top + first < bottom and left + second < right:
        out[:, top + first : bottom, left + second : right] += made[
            :, first : bottom - top, second : right - left
        ]
