"""StyleGAN2's discriminator: a residual network from an image to the logit that it is real.

Karras et al. 2020, arXiv:1912.04958, section 4.1; conditioned by projection, as in "Training Generative
Adversarial Networks with Limited Data", arXiv:2006.06676, section 4.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_stylegan.networks.layers import GAIN, SLOPE, EqualLinear
from zoo_stylegan.networks.mapping import MappingNetwork
from zoo_stylegan.networks.stylegan2 import MIN_RESOLUTION, fir_filter, fir_kernel

MBSTD_GROUP_SIZE = 4
"""Images over which the minibatch standard deviation is taken."""


class EqualConv(nn.Module):
    """A convolution with equalized learning rate; with ``down`` it filters and halves the sides.

    ``gain`` scales the output; ``activation`` applies a leaky ReLU.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        down: bool = False,
        bias: bool = True,
        gain: float = 1.0,
        activation: bool = True,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, kernel_size, kernel_size))
        self.bias = nn.Parameter(torch.zeros(out_channels)) if bias else None
        self.down = down
        self.gain = gain * (GAIN if activation else 1.0)
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w), or to (n, out, h/2, w/2) with ``down``."""
        size = self.weight.shape[2]
        weight = self.weight / math.sqrt(self.weight[0].numel())
        if not self.activation:
            weight = weight * self.gain
        if self.down and size == 1:
            x = F.conv2d(downsample(x), weight, self.bias)
        elif self.down:
            x = F.conv2d(fir_filter(x, pad=2, gain=1), weight, self.bias, stride=2)
        else:
            x = F.conv2d(x, weight, self.bias, padding=size // 2)
        return F.leaky_relu(x, SLOPE) * self.gain if self.activation else x


def downsample(x: Tensor) -> Tensor:
    """Filter x (n, c, h, w) and halve its sides."""
    c = x.shape[1]
    return F.conv2d(x, fir_kernel(x).expand(c, 1, 4, 4), stride=2, padding=1, groups=c)


class DiscriminatorBlock(nn.Module):
    """A residual block of two 3×3 convolutions and a 1×1 shortcut that halves the resolution."""

    def __init__(self, in_channels: int, out_channels: int, image_channels: int | None) -> None:
        super().__init__()
        self.fromrgb = None if image_channels is None else EqualConv(image_channels, in_channels, 1)
        self.conv0 = EqualConv(in_channels, in_channels, 3)
        self.conv1 = EqualConv(in_channels, out_channels, 3, down=True, gain=math.sqrt(0.5))
        self.skip = EqualConv(
            in_channels, out_channels, 1, down=True, bias=False, gain=math.sqrt(0.5), activation=False
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map feature maps, or images in the first block, (n, in, h, w) to (n, out, h/2, w/2)."""
        if self.fromrgb is not None:
            x = self.fromrgb(x)
        y: Tensor = self.conv1(self.conv0(x)) + self.skip(x)
        return y


class DiscriminatorEpilogue(nn.Module):
    """The last layers: minibatch standard deviation, a convolution and two linear layers."""

    def __init__(self, channels: int, out_features: int) -> None:
        super().__init__()
        self.conv = EqualConv(channels + 1, channels, 3)
        self.fc = EqualLinear(channels * MIN_RESOLUTION**2, channels, activation=True)
        self.out = EqualLinear(channels, out_features)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, channels, 4, 4) to (n, out)."""
        x = self.conv(torch.cat([x, minibatch_stddev(x)], dim=1))
        y: Tensor = self.out(self.fc(x.flatten(1)))
        return y


def minibatch_stddev(x: Tensor) -> Tensor:
    """Return the standard deviation within groups of x (n, c, h, w), averaged over everything: (n, 1, h, w).

    It shows the discriminator whether a generator lacks variation: arXiv:1710.10196, section 3. A group is
    neighbouring images of the batch.
    """
    n, _, h, w = x.shape
    group = max(size for size in range(1, MBSTD_GROUP_SIZE + 1) if n % size == 0)
    stddev = (x.reshape(n // group, group, -1).var(1, unbiased=False) + 1e-8).sqrt().mean(1)
    return stddev.repeat_interleave(group).view(n, 1, 1, 1).expand(n, 1, h, w).to(x.dtype)


class Discriminator(nn.Module):
    """Maps images, and classes in a conditional model, to the logits that they are real.

    ``channels`` are those of the feature maps from 4×4 up to the images' resolution; with no ``classes`` it
    is unconditional.
    """

    def __init__(
        self, channels: Sequence[int], image_channels: int, classes: int = 0, mapping_layers: int = 8
    ) -> None:
        super().__init__()
        self.names = []
        for index in reversed(range(1, len(channels))):
            is_first = index == len(channels) - 1
            self.names.append(f"b{MIN_RESOLUTION << index}")
            image_in = image_channels if is_first else None
            self.add_module(
                self.names[-1], DiscriminatorBlock(channels[index], channels[index - 1], image_in)
            )
        self.b4 = DiscriminatorEpilogue(channels[0], channels[0] if classes else 1)
        self.mapping = MappingNetwork(0, classes, channels[0], mapping_layers) if classes else None

    def forward(self, images: Tensor, c: Tensor | None = None) -> Tensor:
        """Map images (n, c, h, w) in [-1, 1], and one-hot classes c (n, classes) or None, to logits (n,)."""
        x = images.contiguous(memory_format=torch.channels_last)
        for name in self.names:
            x = self.get_submodule(name)(x)
        logits: Tensor = self.b4(x)
        if self.mapping is not None:
            embedding: Tensor = self.mapping(None, c)
            logits = (logits * embedding).sum(1, keepdim=True) / math.sqrt(embedding.shape[1])
        return logits[:, 0]
