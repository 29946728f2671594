"""The judge: a small network that reads MNIST's digits, so that drawn ones can be counted and compared."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from zoo_core import load_weights

WEIGHTS = Path(__file__).with_name("digits.safetensors")
FEATURES = 64


class Judge(nn.Module):
    """Four convolutions, 64 features, ten digits."""

    def __init__(self) -> None:
        super().__init__()
        widths = ((1, 24, 1), (24, 32, 2), (32, 48, 1), (48, 64, 2))
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 3, stride, 1) for a, b, stride in widths)
        self.norms = nn.ModuleList(nn.BatchNorm2d(b) for _, b, _ in widths)
        self.to_features = nn.Linear(64 * 7 * 7, FEATURES)
        self.to_digits = nn.Linear(FEATURES, 10)

    def features(self, images: Tensor) -> Tensor:
        """Map images (n, 1, 28, 28) in [-1, 1] to what the last layer reads, (n, 64)."""
        x = images
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        return F.relu(self.to_features(x.flatten(1)))

    def forward(self, images: Tensor) -> Tensor:
        """Return the logits of the digits, (n, 10)."""
        logits: Tensor = self.to_digits(self.features(images))
        return logits


def load_judge(path: Path = WEIGHTS) -> Judge:
    """Return the trained judge, in float32, for evaluation."""
    judge = Judge()
    tensors = {name: t.float() if t.is_floating_point() else t for name, t in load_file(path).items()}
    load_weights(judge, tensors, str(path))
    return judge.eval()


@torch.inference_mode()
def look(judge: Judge, images: Tensor, batch_size: int = 500) -> tuple[Tensor, Tensor]:
    """Return features (n, 64) and digits read (n,) of images (n, 1, 28, 28) in [-1, 1]."""
    features = torch.cat([judge.features(part) for part in images.split(batch_size)])
    return features, judge.to_digits(features).argmax(1)
