"""Pixels as features: Euclidean distance between features is that between images."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

LARGEST = 32
"""Larger images are scaled down by averaging until no side is longer."""


class Pixels:
    """Flattened images in [0, 1]."""

    digest = "pixels 1"
    size = None
    channels = None
    batch_size = 256

    def __init__(self, device: torch.device) -> None:
        self.device = device

    def __call__(self, images: Tensor) -> Tensor:
        """Map images (n, c, h, w) in [-1, 1] to features (n, c·h·w)."""
        height, width = images.shape[2:]
        factor = -(-max(height, width) // LARGEST)
        if factor > 1:
            images = F.adaptive_avg_pool2d(images, (max(1, height // factor), max(1, width // factor)))
        return images.flatten(1).add(1).div(2)


def build(checkpoint: None, device: torch.device) -> Pixels:
    """Return the extractor."""
    return Pixels(device)
