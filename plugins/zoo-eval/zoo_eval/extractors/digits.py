"""A small classifier of MNIST's digits, trained by ``recipes/digits.py``."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Checkpoint, load_network

FEATURES = 64


class Digits(nn.Module):
    """Four convolutions, 64 features, ten digits."""

    size, channels, batch_size = 28, 1, 256

    def __init__(self, digest: str = "") -> None:
        super().__init__()
        self.digest = digest
        widths = ((1, 24, 1), (24, 32, 2), (32, 48, 1), (48, 64, 2))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride, 1) for a, b, stride in widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _ in widths)
        self.to_features = nn.Linear(64 * 7 * 7, FEATURES)
        self.to_digits = nn.Linear(FEATURES, 10)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 1, 28, 28) in [-1, 1] to the input of the last layer, (n, 64)."""
        x = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        return F.relu(self.to_features(x.flatten(1)))

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits of the digits, (n, 10)."""
        logits: Tensor = self.to_digits(features)
        return logits

    def classify(self, features: Tensor) -> Tensor:
        """Return the predicted digits, (n,)."""
        return self.logits(features).argmax(1)


def build(checkpoint: Checkpoint, device: torch.device) -> Digits:
    """Return the trained classifier, in float32, for evaluation."""
    tensors = checkpoint.tensors("digits")
    return load_network(lambda: Digits(checkpoint.digest), tensors, checkpoint.source, device=device)
