"""StyleGAN2's discriminator: a residual network that shrinks an image to the logit of its being real.

Karras et al. 2020, arXiv:1912.04958, section 4.1; conditioned by projection, as in "Training Generative
Adversarial Networks with Limited Data", arXiv:2006.06676, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_stylegan.layers import GAIN, SLOPE, EqualLinear
from zoo_stylegan.mapping import Mapping
from zoo_stylegan.stylegan2 import SMALLEST, blur, kernel

GROUP = 4
"""Images whose spread is told to each of them."""


class EqualConv(nn.Module):
    """A convolution whose stored weights have unit variance; with ``down`` it blurs and halves the sides.

    Args:
        into: Channels read.
        out: Channels made.
        size: Side of the kernel.
        down: Whether the sides are halved.
        bias: Whether it has one.
        gain: Of what it makes.
        active: Whether a leaky ReLU follows.
    """

    def __init__(
        self,
        into: int,
        out: int,
        size: int,
        *,
        down: bool = False,
        bias: bool = True,
        gain: float = 1.0,
        active: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into, size, size))
        self.bias = nn.Parameter(torch.zeros(out)) if bias else None
        self.down = down
        self.gain = gain * (GAIN if active else 1.0)
        self.active = active

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w), or half as large with ``down``."""
        size = self.weight.shape[2]
        weight = self.weight / math.sqrt(self.weight[0].numel())
        if not self.active:
            weight = weight * self.gain
        if self.down and size == 1:
            x = F.conv2d(shrink(x), weight, self.bias)
        elif self.down:
            x = F.conv2d(blur(x, pad=2, gain=1), weight, self.bias, stride=2)
        else:
            x = F.conv2d(x, weight, self.bias, padding=size // 2)
        return F.leaky_relu(x, SLOPE) * self.gain if self.active else x


def shrink(x: Tensor) -> Tensor:
    """Filter x (n, c, h, w) and halve its sides."""
    c = x.shape[1]
    return F.conv2d(x, kernel(x).expand(c, 1, 4, 4), stride=2, padding=1, groups=c)


class Block(nn.Module):
    """Two convolutions, of which the second halves the sides, beside a 1×1 shortcut."""

    def __init__(self, into: int, out: int, image_channels: int | None) -> None:
        super().__init__()
        self.fromrgb = None if image_channels is None else EqualConv(image_channels, into, 1)
        self.conv0 = EqualConv(into, into, 3)
        self.conv1 = EqualConv(into, out, 3, down=True, gain=math.sqrt(0.5))
        self.skip = EqualConv(into, out, 1, down=True, bias=False, gain=math.sqrt(0.5), active=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map features, or in the first block an image, (n, in, h, w) to (n, out, h/2, w/2)."""
        if self.fromrgb is not None:
            x = self.fromrgb(x)
        y: Tensor = self.conv1(self.conv0(x)) + self.skip(x)
        return y


class Epilogue(nn.Module):
    """The features of 4×4 to one number, or to as many as the embedding of a class has."""

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        self.conv = EqualConv(channels + 1, channels, 3)
        self.fc = EqualLinear(channels * SMALLEST**2, channels, active=True)
        self.out = EqualLinear(channels, out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, 4, 4) to (n, out)."""
        x = self.conv(torch.cat([x, spread(x)], dim=1))
        y: Tensor = self.out(self.fc(x.flatten(1)))
        return y


def spread(x: Tensor) -> Tensor:
    """Return the deviation within groups of the batch x (n, c, h, w), a mean over everything: (n, 1, h, w).

    What the images of a group have in common betrays a generator that always draws the same:
    arXiv:1710.10196, section 3. A group's images are neighbours in the batch.
    """
    n, _, h, w = x.shape
    group = max(size for size in range(1, GROUP + 1) if n % size == 0)
    deviation = (x.reshape(n // group, group, -1).var(1, unbiased=False) + 1e-8).sqrt().mean(1)
    return deviation.repeat_interleave(group).view(n, 1, 1, 1).expand(n, 1, h, w).to(x.dtype)


class Discriminator(nn.Module):
    """Images, and classes where there are some, to logits of being real.

    Args:
        channels: Of the feature maps, from 4×4 up to the images' resolution.
        image_channels: 1 or 3.
        classes: Number of classes; 0: unconditional.
        mapping_layers: Layers between a class and what the features are compared with.
    """

    def __init__(
        self, channels: Sequence[int], image_channels: int, classes: int = 0, mapping_layers: int = 8
    ) -> None:
        super().__init__()
        self.names = []
        for index in reversed(range(1, len(channels))):
            is_first = index == len(channels) - 1
            self.names.append(f"b{SMALLEST << index}")
            block = Block(channels[index], channels[index - 1], image_channels if is_first else None)
            self.add_module(self.names[-1], block)
        self.b4 = Epilogue(channels[0], channels[0] if classes else 1)
        self.mapping = Mapping(0, classes, channels[0], mapping_layers) if classes else None

    def forward(self, images: Tensor, c: Tensor | None = None) -> Tensor:
        """Map images (n, c, h, w) in [-1, 1], and c (n, classes) where there are some, to logits (n,)."""
        x = images.contiguous(memory_format=torch.channels_last)
        for name in self.names:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.b4(x)
        if self.mapping is not None:
            wanted: Tensor = self.mapping(None, c)
            logits = (logits * wanted).sum(1, keepdim=True) / math.sqrt(wanted.shape[1])
        return logits[:, 0]
