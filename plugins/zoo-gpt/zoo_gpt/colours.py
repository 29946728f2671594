"""Pictures as sequences: each pixel becomes the nearest of a few hundred colours, read row by row.

Chen et al. 2020 ("Generative Pretraining from Pixels", section 3.2).
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
"""Pixels that are compared with all colours at once."""


@dataclass(frozen=True)
class Palette:
    """The colours, and the square of pixels they fill."""

    clusters: Tensor
    """(colours, c) float32 in [-1, 1]; c is 1 or 3."""
    side: int
    """Rows, and columns."""

    @classmethod
    def read(cls, config: Mapping[str, Any], pixels: int, source: str) -> Palette:
        """Read ``clusters`` from preprocessor_config.json, for pictures of so many pixels.

        Raises:
            WeightsError: There are none, they are no colours, or the pixels are no square.
        """
        try:
            clusters = torch.tensor(config.get("clusters"), dtype=torch.float32)
        except (TypeError, ValueError, RuntimeError):
            clusters = torch.empty(0)
        side = math.isqrt(pixels)
        if clusters.dim() != 2 or clusters.shape[1] not in (1, 3) or side * side != pixels:
            raise WeightsError(
                f"{source} has no list of colours in [-1, 1] for square pictures of {pixels} pixels.",
                "Use a checkpoint in the layout of openai/imagegpt-small.",
            )
        return cls(clusters, side)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(c, h, w) of a picture."""
        return (self.clusters.shape[1], self.side, self.side)

    def encode(self, pictures: Tensor) -> Tensor:
        """Map pictures (n, c, h, w) in [-1, 1] to the nearest colours (n, h·w) int64."""
        pixels = pictures.float().permute(0, 2, 3, 1).flatten(0, 2)  # (n·h·w, c)
        nearest = [torch.cdist(part, self.clusters).argmin(1) for part in torch.split(pixels, CHUNK)]
        return torch.cat(nearest).view(len(pictures), -1)

    def decode(self, colours: Tensor) -> Tensor:
        """Map the first colours (n, t) int64 of pictures to (n, c, h, w) in [-1, 1]; the rest is grey, 0."""
        n, t = colours.shape
        c, h, w = self.shape
        pixels = torch.zeros(n, h * w, c)
        pixels[:, :t] = self.clusters[colours.cpu()]
        return pixels.view(n, h, w, c).permute(0, 3, 1, 2)
