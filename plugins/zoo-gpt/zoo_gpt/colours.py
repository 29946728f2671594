"""Images as sequences: each pixel becomes the nearest of a few hundred colours, read row by row.

Chen et al. 2020 ("Generative Pretraining from Pixels", section 3.2). A colour may also be that of a square
patch of pixels at once, which makes sequences shorter: vector quantisation (Gersho & Gray 1992).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from zoo_core import WeightsError

CHUNK = 4096
"""Patches that are compared with all colours at once."""


@dataclass(frozen=True)
class Palette:
    """The colours, and the square of pixels they fill."""

    clusters: Tensor
    """(colours, patch · patch · c) float32 in [-1, 1], a patch row by row; c is 1 or 3."""
    side: int
    """Rows, and columns, of pixels."""
    patch: int = 1
    """Rows, and columns, of the pixels that share a colour."""

    @classmethod
    def read(cls, config: Mapping[str, Any], places: int, source: str, patch: Any = 1) -> Palette:
        """Read ``clusters`` from preprocessor_config.json, for images of so many colours.

        Raises:
            WeightsError: There are none, they are no colours, or ``patch`` or the images are no squares.
        """
        if type(patch) is not int or patch < 1:
            raise WeightsError(
                f"{source} is of patches whose side is {patch!r}.", "Write a whole number into config.json."
            )
        try:
            clusters = torch.tensor(config.get("clusters"), dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            clusters = torch.empty(0)
        rows = math.isqrt(places)
        sizes = (patch**2, 3 * patch**2)
        if clusters.dim() != 2 or clusters.shape[1] not in sizes or rows * rows != places:
            raise WeightsError(
                f"{source} has no list of colours in [-1, 1] for square images of {places} colours, "
                f"each of {patch}×{patch} pixels.",
                "Use a checkpoint in the layout of openai/imagegpt-small.",
            )
        return cls(clusters, rows * patch, patch)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of an image."""
        return (self.clusters.shape[1] // self.patch**2, self.side, self.side)

    @property
    def row(self) -> int:
        """Colours in a row, and rows of them."""
        return self.side // self.patch

    def encode(self, images: Tensor) -> Tensor:
        """Map images (n, c, h, w) in [-1, 1] to the nearest colours (n, row²) int64, on their device."""
        clusters = self.clusters.to(images.device)
        patches = torch.split(cut(images.float(), self.patch).flatten(0, 1), CHUNK)
        nearest = [torch.cdist(part, clusters).argmin(1) for part in patches]
        return torch.cat(nearest).view(len(images), -1)

    def decode(self, colours: Tensor) -> Tensor:
        """Map the first colours (n, t) int64 of images to (n, c, h, w) in [-1, 1]; the rest is grey, 0."""
        n, t = colours.shape
        c, h, w = self.shape
        row, p = self.row, self.patch
        patches = torch.zeros(n, row * row, p * p * c)
        patches[:, :t] = self.clusters[colours.cpu()]
        grid = patches.view(n, row, row, p, p, c)  # (n, rows, columns, rows and columns in a patch, c)
        return grid.permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def cut(images: Tensor, patch: int) -> Tensor:
    """Cut images (n, c, h, w) into patches (n, h · w / patch², patch · patch · c), row by row."""
    n, c, h, w = images.shape
    grid = images.view(n, c, h // patch, patch, w // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, patch * patch * c)


def learn(images: Tensor, colours: int, patch: int, rounds: int = 20) -> Tensor:
    """Find the colours of images by k-means: Lloyd's algorithm (1982) after a k-means++ start.

    A start takes one example after the other as a centre, each with a probability that grows with the squared
    distance from the centres before it (Arthur & Vassilvitskii 2007, section 2.2). Chance is PyTorch's own.

    Args:
        images: Examples, (m, c, h, w) uint8.
        colours: How many to find; there are fewer if the examples have fewer, and then nothing is lost.
        patch: Side of the patches that are the colours.
        rounds: Of Lloyd's algorithm.

    Returns:
        (colours, patch · patch · c) float32 in [-1, 1], from the darkest to the brightest.
    """
    examples = cut(images, patch).flatten(0, 1)
    distinct, counts = torch.unique(examples, dim=0, return_counts=True)
    points, weights = distinct.float() / 127.5 - 1, counts.float()
    centres = points if len(points) <= colours else _lloyd(points, weights, colours, rounds)
    return centres[centres.sum(1).argsort(stable=True)]


def _lloyd(points: Tensor, weights: Tensor, k: int, rounds: int) -> Tensor:
    """Return k centres (k, d) of points (m, d) with weights (m,)."""
    centres = _spread(points, weights, k)
    for _ in range(rounds):
        nearest = torch.cat([torch.cdist(part, centres).argmin(1) for part in torch.split(points, CHUNK)])
        mass = torch.zeros(k).index_add_(0, nearest, weights)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points * weights[:, None])
        # A centre that is nearest to nothing stays where it is.
        centres = torch.where(mass[:, None] > 0, sums / mass[:, None].clamp(min=1), centres)
    return centres


def _spread(points: Tensor, weights: Tensor, k: int) -> Tensor:
    """Choose k of the points (m, d) as k-means++ does."""
    chosen = [points[_pick(weights)]]
    distances = (points - chosen[0]).square().sum(1)
    while len(chosen) < k:
        chosen.append(points[_pick(weights * distances)])
        distances = torch.minimum(distances, (points - chosen[-1]).square().sum(1))
    return torch.stack(chosen)


def _pick(weights: Tensor) -> int:
    """Draw an index with a probability in proportion to its weight (m,)."""
    # torch.multinomial takes no more than 2²⁴ weights, and is slow for as many as there are.
    ladder = weights.double().cumsum(0)
    return int(torch.searchsorted(ladder, torch.rand((), dtype=torch.float64) * ladder[-1], right=True))
