"""The Inception-v3 of the FID: 2048 features after the last pooling.

Szegedy et al. 2015, arXiv:1512.00567; the weights are those of TensorFlow's ``inception-2015-12-05``, which
Heusel et al. 2017 used, with the tensor names that their PyTorch ports share. Three things differ from later
Inceptions: average pooling excludes padding, the last block uses max pooling, and there are 1008 classes.
"""

from __future__ import annotations

from pathlib import PurePath

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Checkpoint, load_network

EPSILON = 1e-3


class BasicConv2d(nn.Module):
    """A convolution, its norm, and ReLU."""

    def __init__(
        self, width: int, out: int, side: int | tuple[int, int], stride: int = 1, padding: object = 0
    ):
        super().__init__()
        self.conv = nn.Conv2d(width, out, side, stride, padding, bias=False)  # type: ignore[arg-type]
        self.bn = nn.BatchNorm2d(out, EPSILON)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, h, w) to (n, out, …)."""
        return F.relu(self.bn(self.conv(x)))


def average_pool(x: Tensor) -> Tensor:
    """Average-pool over 3×3, without counting padding."""
    return F.avg_pool2d(x, 3, 1, 1, count_include_pad=False)


class InceptionA(nn.Module):
    """Branches of 1×1, 5×5, two 3×3 and average pooling, at 35×35."""

    def __init__(self, width: int, pooled: int) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(width, 64, 1)
        self.branch5x5_1 = BasicConv2d(width, 48, 1)
        self.branch5x5_2 = BasicConv2d(48, 64, 5, padding=2)
        self.branch3x3dbl_1 = BasicConv2d(width, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, padding=1)
        self.branch_pool = BasicConv2d(width, pooled, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, 35, 35) to (n, 224 + pooled, 35, 35)."""
        five = self.branch5x5_2(self.branch5x5_1(x))
        three = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch1x1(x), five, three, self.branch_pool(average_pool(x))], 1)


class InceptionB(nn.Module):
    """From 35×35 to 17×17."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3 = BasicConv2d(288, 384, 3, stride=2)
        self.branch3x3dbl_1 = BasicConv2d(288, 64, 1)
        self.branch3x3dbl_2 = BasicConv2d(64, 96, 3, padding=1)
        self.branch3x3dbl_3 = BasicConv2d(96, 96, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 288, 35, 35) to (n, 768, 17, 17)."""
        double = self.branch3x3dbl_3(self.branch3x3dbl_2(self.branch3x3dbl_1(x)))
        return torch.cat([self.branch3x3(x), double, F.max_pool2d(x, 3, 2)], 1)


class InceptionC(nn.Module):
    """7×7 factorised into 1×7 and 7×1, at 17×17."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        row = {"side": (1, 7), "padding": (0, 3)}
        column = {"side": (7, 1), "padding": (3, 0)}
        self.branch1x1 = BasicConv2d(768, 192, 1)
        self.branch7x7_1 = BasicConv2d(768, inner, 1)
        self.branch7x7_2 = BasicConv2d(inner, inner, **row)  # type: ignore[arg-type]
        self.branch7x7_3 = BasicConv2d(inner, 192, **column)  # type: ignore[arg-type]
        self.branch7x7dbl_1 = BasicConv2d(768, inner, 1)
        self.branch7x7dbl_2 = BasicConv2d(inner, inner, **column)  # type: ignore[arg-type]
        self.branch7x7dbl_3 = BasicConv2d(inner, inner, **row)  # type: ignore[arg-type]
        self.branch7x7dbl_4 = BasicConv2d(inner, inner, **column)  # type: ignore[arg-type]
        self.branch7x7dbl_5 = BasicConv2d(inner, 192, **row)  # type: ignore[arg-type]
        self.branch_pool = BasicConv2d(768, 192, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 768, 17, 17) to the same shape."""
        seven = self.branch7x7_3(self.branch7x7_2(self.branch7x7_1(x)))
        double = self.branch7x7dbl_3(self.branch7x7dbl_2(self.branch7x7dbl_1(x)))
        double = self.branch7x7dbl_5(self.branch7x7dbl_4(double))
        return torch.cat([self.branch1x1(x), seven, double, self.branch_pool(average_pool(x))], 1)


class InceptionD(nn.Module):
    """From 17×17 to 8×8."""

    def __init__(self) -> None:
        super().__init__()
        self.branch3x3_1 = BasicConv2d(768, 192, 1)
        self.branch3x3_2 = BasicConv2d(192, 320, 3, stride=2)
        self.branch7x7x3_1 = BasicConv2d(768, 192, 1)
        self.branch7x7x3_2 = BasicConv2d(192, 192, (1, 7), padding=(0, 3))
        self.branch7x7x3_3 = BasicConv2d(192, 192, (7, 1), padding=(3, 0))
        self.branch7x7x3_4 = BasicConv2d(192, 192, 3, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, 768, 17, 17) to (n, 1280, 8, 8)."""
        seven = self.branch7x7x3_4(self.branch7x7x3_3(self.branch7x7x3_2(self.branch7x7x3_1(x))))
        return torch.cat([self.branch3x3_2(self.branch3x3_1(x)), seven, F.max_pool2d(x, 3, 2)], 1)


class InceptionE(nn.Module):
    """3×3 factorised into 1×3 and 3×1, at 8×8, with average or max pooling."""

    def __init__(self, width: int, max_pool: bool) -> None:
        super().__init__()
        self.branch1x1 = BasicConv2d(width, 320, 1)
        self.branch3x3_1 = BasicConv2d(width, 384, 1)
        self.branch3x3_2a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3_2b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch3x3dbl_1 = BasicConv2d(width, 448, 1)
        self.branch3x3dbl_2 = BasicConv2d(448, 384, 3, padding=1)
        self.branch3x3dbl_3a = BasicConv2d(384, 384, (1, 3), padding=(0, 1))
        self.branch3x3dbl_3b = BasicConv2d(384, 384, (3, 1), padding=(1, 0))
        self.branch_pool = BasicConv2d(width, 192, 1)
        self.max_pool = max_pool

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, width, 8, 8) to (n, 2048, 8, 8)."""
        three = self.branch3x3_1(x)
        double = self.branch3x3dbl_2(self.branch3x3dbl_1(x))
        pooled = F.max_pool2d(x, 3, 1, 1) if self.max_pool else average_pool(x)
        parts = [self.branch1x1(x), self.branch3x3_2a(three), self.branch3x3_2b(three)]
        parts += [self.branch3x3dbl_3a(double), self.branch3x3dbl_3b(double), self.branch_pool(pooled)]
        return torch.cat(parts, 1)


class Inception(nn.Module):
    """The network up to its 2048 pooled features."""

    size, channels, batch_size = 299, 3, 32

    def __init__(self, digest: str = "") -> None:
        super().__init__()
        self.digest = digest
        self.Conv2d_1a_3x3 = BasicConv2d(3, 32, 3, stride=2)
        self.Conv2d_2a_3x3 = BasicConv2d(32, 32, 3)
        self.Conv2d_2b_3x3 = BasicConv2d(32, 64, 3, padding=1)
        self.Conv2d_3b_1x1 = BasicConv2d(64, 80, 1)
        self.Conv2d_4a_3x3 = BasicConv2d(80, 192, 3)
        self.Mixed_5b = InceptionA(192, 32)
        self.Mixed_5c = InceptionA(256, 64)
        self.Mixed_5d = InceptionA(288, 64)
        self.Mixed_6a = InceptionB()
        self.Mixed_6b = InceptionC(128)
        self.Mixed_6c = InceptionC(160)
        self.Mixed_6d = InceptionC(160)
        self.Mixed_6e = InceptionC(192)
        self.Mixed_7a = InceptionD()
        self.Mixed_7b = InceptionE(1280, max_pool=False)
        self.Mixed_7c = InceptionE(2048, max_pool=True)
        self.fc = nn.Linear(2048, 1008)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, 3, 299, 299) in [-1, 1] to features (n, 2048)."""
        # TensorFlow's graph takes (level − 128) / 128.
        x = (images * 127.5 - 0.5) / 128
        x = self.Conv2d_2b_3x3(self.Conv2d_2a_3x3(self.Conv2d_1a_3x3(x)))
        x = self.Conv2d_4a_3x3(self.Conv2d_3b_1x1(F.max_pool2d(x, 3, 2)))
        x = self.Mixed_5d(self.Mixed_5c(self.Mixed_5b(F.max_pool2d(x, 3, 2))))
        x = self.Mixed_6e(self.Mixed_6d(self.Mixed_6c(self.Mixed_6b(self.Mixed_6a(x)))))
        x = self.Mixed_7c(self.Mixed_7b(self.Mixed_7a(x)))
        features: Tensor = x.mean((2, 3))
        return features


def build(checkpoint: Checkpoint, device: torch.device) -> Inception:
    """Return the trained network, for evaluation."""
    # The file is published as .pth, which is the same format as .pt.
    files = {PurePath(name).with_suffix(".pt").name: path for name, path in checkpoint.files.items()}
    (name,) = files
    tensors = Checkpoint(checkpoint.source, files, checkpoint.digest).tensors(PurePath(name).stem)
    # Files from before PyTorch 0.4.1 lack num_batches_tracked.
    norms = [name.removesuffix("running_mean") for name in tensors if name.endswith("running_mean")]
    counters = {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms}
    return load_network(
        lambda: Inception(checkpoint.digest), counters | tensors, checkpoint.source, device=device
    )
