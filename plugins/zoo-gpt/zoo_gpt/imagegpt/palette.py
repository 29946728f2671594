"""Encode images as sequences: replace each pixel by the nearest of a few hundred colours, row by row.

Chen et al. 2020 ("Generative Pretraining from Pixels", section 3.2). One entry of the palette may also stand
for a square patch of pixels, which shortens sequences: vector quantisation (Gersho & Gray 1992).
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
"""Patches compared with the palette at once."""


@dataclass(frozen=True)
class ColorPalette:
    """The colours of a model, and the size of its images."""

    clusters: Tensor
    """(colours, patch · patch · c) float32 in [-1, 1], each patch row by row; c is 1 or 3."""
    side: int
    """Height and width of an image in pixels."""
    patch: int = 1
    """Height and width in pixels of the patch that one colour stands for."""

    @classmethod
    def read(cls, config: Mapping[str, Any], length: int, source: str, patch: int = 1) -> ColorPalette:
        """Read ``clusters`` from a preprocessor_config.json.

        Args:
            config: Its content.
            length: Number of colours in an image's sequence.
            source: The file, for messages.
            patch: Height and width of a patch, from config.json.

        Raises:
            WeightsError: The clusters are missing or not colours of such patches, or the length is no square.
        """
        try:
            clusters = torch.tensor(config.get("clusters"), dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            clusters = torch.empty(0)
        rows = math.isqrt(length)
        sizes = (patch**2, 3 * patch**2)
        if clusters.dim() != 2 or clusters.shape[1] not in sizes or rows * rows != length:
            raise WeightsError(
                f"{source}: clusters is not a list of colours for square images of {length} colours, "
                f"each a patch of {patch}×{patch} pixels.",
                "Use a checkpoint in the layout of openai/imagegpt-small.",
            )
        return cls(clusters, rows * patch, patch)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of an image."""
        return (self.clusters.shape[1] // self.patch**2, self.side, self.side)

    @property
    def row(self) -> int:
        """Number of colours in a row, and of rows."""
        return self.side // self.patch

    def encode(self, images: Tensor) -> Tensor:
        """Map images (n, c, h, w) in [-1, 1] to the nearest colours (n, row²) int64, on their device."""
        clusters = self.clusters.to(images.device)
        patches = torch.split(to_patches(images.float(), self.patch).flatten(0, 1), CHUNK)
        nearest = [torch.cdist(part, clusters).argmin(1) for part in patches]
        return torch.cat(nearest).view(len(images), -1)

    def decode(self, colours: Tensor) -> Tensor:
        """Map the first t colours (n, t) int64 of images to (n, c, h, w) in [-1, 1]; the rest is grey, 0."""
        n, t = colours.shape
        c, h, w = self.shape
        row, p = self.row, self.patch
        patches = torch.zeros(n, row * row, p * p * c)
        patches[:, :t] = self.clusters[colours.cpu()]
        grid = patches.view(n, row, row, p, p, c)  # (n, rows, columns, rows and columns in a patch, c)
        return grid.permute(0, 5, 1, 3, 2, 4).reshape(n, c, h, w)


def to_patches(images: Tensor, patch: int) -> Tensor:
    """Cut images (n, c, h, w) into patches (n, h · w / patch², patch · patch · c), row by row."""
    n, c, h, w = images.shape
    grid = images.view(n, c, h // patch, patch, w // patch, patch)
    return grid.permute(0, 2, 4, 3, 5, 1).reshape(n, -1, patch * patch * c)


def learn_colours(images: Tensor, colours: int, patch: int, iterations: int = 20) -> Tensor:
    """Find a palette for images by k-means: Lloyd's algorithm (1982) with k-means++ initialisation.

    k-means++ picks the centres among the examples one by one, with a probability proportional to the squared
    distance from the nearest centre so far (Arthur & Vassilvitskii 2007, section 2.2). Random numbers come
    from PyTorch's global generator.

    Args:
        images: Examples, (m, c, h, w) uint8.
        colours: Number of colours. If the examples have fewer, the palette is exactly theirs.
        patch: Height and width of the patches.
        iterations: Iterations of Lloyd's algorithm.

    Returns:
        (colours, patch · patch · c) float32 in [-1, 1], from the darkest to the brightest.
    """
    examples = to_patches(images, patch).flatten(0, 1)
    distinct, counts = torch.unique(examples, dim=0, return_counts=True)
    points, weights = distinct.float() / 127.5 - 1, counts.float()
    centres = points if len(points) <= colours else _lloyd(points, weights, colours, iterations)
    return centres[centres.sum(1).argsort(stable=True)]


def _lloyd(points: Tensor, weights: Tensor, k: int, iterations: int) -> Tensor:
    """Return k centres (k, d) of points (m, d) with weights (m,)."""
    centres = _initial_centres(points, weights, k)
    for _ in range(iterations):
        nearest = torch.cat([torch.cdist(part, centres).argmin(1) for part in torch.split(points, CHUNK)])
        mass = torch.zeros(k).index_add_(0, nearest, weights)
        sums = torch.zeros_like(centres).index_add_(0, nearest, points * weights[:, None])
        # A centre without points stays where it is.
        centres = torch.where(mass[:, None] > 0, sums / mass[:, None].clamp(min=1), centres)
    return centres


def _initial_centres(points: Tensor, weights: Tensor, k: int) -> Tensor:
    """Choose k of the points (m, d) with k-means++."""
    chosen = [points[_pick(weights)]]
    distances = (points - chosen[0]).square().sum(1)
    while len(chosen) < k:
        chosen.append(points[_pick(weights * distances)])
        distances = torch.minimum(distances, (points - chosen[-1]).square().sum(1))
    return torch.stack(chosen)


def _pick(weights: Tensor) -> int:
    """Draw an index with probability proportional to its weight (m,)."""
    # torch.multinomial takes at most 2²⁴ weights, and is slow for many.
    cumulative = weights.double().cumsum(0)
    return int(
        torch.searchsorted(cumulative, torch.rand((), dtype=torch.float64) * cumulative[-1], right=True)
    )
