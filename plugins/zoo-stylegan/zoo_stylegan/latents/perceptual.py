"""LPIPS, the perceptual distance of two images, on a shift-tolerant AlexNet.

Zhang et al. 2018, "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", arXiv:1801.03924,
equation 1; the network and its weights are from Ghildyal & Liu 2022, "Shift-tolerant Perceptual Similarity
Metric", arXiv:2207.13686. The weights come with the package ``stlpips-pytorch``, whose code is not used.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Checkpoint, PluginError

PACKAGE = "stlpips_pytorch"
WEIGHTS = ("weights", "vST0.0", "alex_shift_tolerant.pth")
STAGES = (
    ("net.slice1.0", "net.slice1.1", 2, "down"),
    ("net.slice2.5", "net.slice2.4", 2, "first"),
    ("net.slice3.9", "net.slice3.8", 1, "first"),
    ("net.slice4.11", None, 1, ""),
    ("net.slice5.13", None, 1, ""),
)
"""Convolution, low-pass filter and padding of each stage; ``down``: the filter halves the convolution's
output, ``first``: it halves the convolution's input, after max pooling."""
MIN_SIZE = 64
"""Smaller images are enlarged to this side, because the network halves them three times."""


class LPIPS(nn.Module):
    """The perceptual distance of pairs of images.

    Raises:
        PluginError: The package with the weights is not installed.
    """

    def __init__(self) -> None:
        super().__init__()
        spec = importlib.util.find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise PluginError(
                "The perceptual distance LPIPS needs the package stlpips-pytorch.",
                "Install it: pip install stlpips-pytorch==0.0.2",
            )
        file = Path(spec.submodule_search_locations[0]).joinpath(*WEIGHTS)
        self.digest = _digest(file)
        tensors = Checkpoint(str(file), {"alex.pt": file}, self.digest).tensors("alex")
        for name, tensor in tensors.items():
            self.register_buffer(name.replace(".", "_"), tensor.float())

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the distances (n,) of images a from images b, both (n, 3, h, w) in [-1, 1]."""
        return self.distance(self.features(a), self.features(b))

    def distance(self, a: list[Tensor], b: list[Tensor]) -> Tensor:
        """Return the distances (n,) of two batches of images from their :meth:`features`."""
        total = torch.zeros(len(a[0]), device=a[0].device)
        for index, (one, other) in enumerate(zip(a, b, strict=True)):
            weight = self.get_buffer(f"lin{index}_model_1_weight")
            total = total + F.conv2d((one - other).square(), weight).mean((1, 2, 3))
        return total

    def features(self, images: Tensor) -> list[Tensor]:
        """Return the feature maps of each stage, of unit length, for images (n, 3 or 1, h, w) in [-1, 1]."""
        x = images.expand(-1, 3, -1, -1)
        if min(x.shape[2:]) < MIN_SIZE:
            x = F.interpolate(x, scale_factor=MIN_SIZE / min(x.shape[2:]), mode="bilinear")
        x = (x - self.get_buffer("scaling_layer_shift")) / self.get_buffer("scaling_layer_scale")
        return [stage / (stage.norm(dim=1, keepdim=True) + 1e-10) for stage in self._stages(x)]

    def _stages(self, x: Tensor) -> Iterator[Tensor]:
        for conv, lowpass, padding, order in STAGES:
            name = conv.replace(".", "_")
            if lowpass and order == "first":
                x = self._downsample(F.max_pool2d(x, 3, 1), lowpass)
            x = F.conv2d(
                x, self.get_buffer(f"{name}_weight"), self.get_buffer(f"{name}_bias"), padding=padding
            )
            if lowpass and order == "down":
                x = self._downsample(x, lowpass)
            x = F.relu(x)
            yield x

    def _downsample(self, x: Tensor, lowpass: str) -> Tensor:
        kernel = self.get_buffer(f"{lowpass.replace('.', '_')}_filt")
        return F.conv2d(F.pad(x, (2, 2, 2, 2), "reflect"), kernel, stride=2, groups=x.shape[1])


class LPIPSFeatures:
    """The extractor ``lpips-alex``: the features of all stages, averaged over the image."""

    size, channels, batch_size = MIN_SIZE, 3, 128

    def __init__(self, network: LPIPS) -> None:
        self._network = network
        self.digest = network.digest

    def __call__(self, images: Tensor) -> Tensor:
        """Return the features (n, 1152) of images (n, 3, 64, 64) in [-1, 1]."""
        return torch.cat([stage.mean((2, 3)) for stage in self._network.features(images)], 1)


def build_extractor(checkpoint: None, device: torch.device) -> LPIPSFeatures:
    """Return the extractor ``lpips-alex``."""
    return LPIPSFeatures(LPIPS().to(device))


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()
