"""GigaGAN's discriminator: images at several resolutions in, logits at several resolutions out.

Kang et al. 2023, arXiv:2303.05511, section 3.4: each low-resolution image has its own input layer, and every
feature map on the way down gets a prediction conditioned on the prompt. A prediction at the last map alone
leaves the generator's early layers idle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gigagan.attention import SelfAttention
from zoo_gigagan.equalized_lr import EqualizedConv, EqualizedLinear, leaky_relu
from zoo_gigagan.resolutions import MIN_RESOLUTION, resolutions

if TYPE_CHECKING:
    from zoo_gigagan.text_to_image.text import TextEncoder

MBSTD_GROUP_SIZE = 4
"""Images over which :func:`minibatch_stddev` is computed."""


class DiscriminatorBlock(nn.Module):
    """A residual block that halves the sides of a feature map."""

    def __init__(self, in_channels: int, out_channels: int, heads: int | None) -> None:
        super().__init__()
        self.attention = None if heads is None else SelfAttention(in_channels, heads)
        self.conv = EqualizedConv(in_channels, in_channels, 3)
        self.down = EqualizedConv(in_channels, out_channels, 3, stride=2)
        self.skip = EqualizedConv(in_channels, out_channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/2, w/2)."""
        if self.attention is not None:
            x = self.attention(x)
        residual = leaky_relu(self.down(leaky_relu(self.conv(x))))
        y: Tensor = (residual + self.skip(F.avg_pool2d(x, 2))) * math.sqrt(0.5)
        return y


class DiscriminatorHead(nn.Module):
    """Predict a logit from a feature map and the prompt: text-modulated 1×1 convolutions and a projection.

    Without a ``text_width``, the width of t_global, it is unconditional. The ``last``, smallest map is read
    as a whole, together with its minibatch standard deviation.
    """

    def __init__(self, channels: int, text_width: int | None, last: bool) -> None:
        super().__init__()
        self.last = last
        if text_width is not None:
            self.scale = EqualizedLinear(text_width, channels)
            self.wanted = EqualizedLinear(text_width, channels)
            self.compared = EqualizedLinear(channels, channels)
        if last:
            self.conv = EqualizedConv(channels + 1, channels, 3)
            self.whole = EqualizedLinear(channels * MIN_RESOLUTION**2, channels)
        else:
            self.conv = EqualizedConv(channels, channels, 1)
        self.out = EqualizedLinear(channels, 1)

    def forward(self, x: Tensor, texts: Sequence[Tensor | None]) -> list[Tensor]:
        """Map x (n, c, h, w) to logits (n,), once for each of ``texts``: t_global (n, width), or None."""
        if self.last:
            x = leaky_relu(self.conv(torch.cat([x, minibatch_stddev(x)], 1)))
            x = leaky_relu(self.whole(x.flatten(1)))[:, :, None, None]
        logits = []
        for text in texts:
            modulated = x if text is None else x * (1 + self.scale(text)[:, :, None, None])
            features = (modulated if self.last else leaky_relu(self.conv(modulated))).mean((2, 3))
            logits.append(self.out(features)[:, 0])
            if text is not None:
                projection = (self.compared(features) * self.wanted(text)).sum(1) / math.sqrt(x.shape[1])
                logits[-1] = logits[-1] + projection
        return logits


def minibatch_stddev(x: Tensor) -> Tensor:
    """Return the mean standard deviation within groups of a batch, (n, c, h, w) to (n, 1, h, w).

    A low one betrays a generator that has collapsed: Karras et al. 2018, arXiv:1710.10196, section 3.
    """
    n, _, h, w = x.shape
    group = max(size for size in range(1, MBSTD_GROUP_SIZE + 1) if n % size == 0)
    deviation = (x.reshape(n // group, group, -1).var(1, unbiased=False) + 1e-8).sqrt().mean(1)
    return deviation.repeat_interleave(group).view(n, 1, 1, 1).expand(n, 1, h, w)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The architecture of a discriminator."""

    channels: tuple[int, ...]
    """Channels of the feature maps, from 4×4 up."""
    entries: tuple[int, ...]
    """Resolutions of the input images."""
    attention: tuple[int, ...] = ()
    """Resolutions of the feature maps with attention."""
    heads: int = 4
    image_channels: int = 3


class Discriminator(nn.Module):
    """Predict whether images are real and fit their prompts; without a text encoder it is unconditional."""

    def __init__(self, config: DiscriminatorConfig, text: TextEncoder | None = None) -> None:
        super().__init__()
        self.entries, self.text = config.entries, text
        self.sizes = resolutions(len(config.channels))
        channels = dict(zip(self.sizes, config.channels, strict=True))
        heads = {size: config.heads if size in config.attention else None for size in self.sizes}
        self.from_rgb = nn.ModuleDict(
            {str(entry): EqualizedConv(config.image_channels, channels[entry], 1) for entry in self.entries}
        )
        self.blocks = nn.ModuleDict(
            {
                str(size): DiscriminatorBlock(channels[size], channels[size // 2], heads[size])
                for size in self.sizes[1:]
            }
        )
        width = None if text is None else text.width
        self.heads = nn.ModuleDict(
            {
                str(size): DiscriminatorHead(channels[size], width, size == MIN_RESOLUTION)
                for size in self.sizes[:-1]
            }
        )

    def forward(self, images: Sequence[Tensor], prompts: Sequence[Tensor] = ()) -> list[Tensor]:
        """Return the logits of n images, for each of several prompts.

        Args:
            images: An (n, c, side, side) in [-1, 1] for each of the entries.
            prompts: Tokens (n, length) int64; empty for an unconditional discriminator.

        Equation 6 sums the logits (n, predictions) over the predictions.
        """
        texts = [None] if self.text is None else [self.text(tokens).t_global for tokens in prompts]
        predictions: list[list[Tensor]] = []
        for entry, image in zip(self.entries, images, strict=True):
            x = leaky_relu(self.from_rgb[str(entry)](image))
            for size in reversed([size for size in self.sizes if size <= entry]):
                if size < entry or size == MIN_RESOLUTION:
                    predictions.append(self.heads[str(size)](x, texts))
                if size > MIN_RESOLUTION:
                    x = self.blocks[str(size)](x)
        return [torch.stack(logits, 1) for logits in zip(*predictions, strict=True)]


class DiscriminatorInTraining(nn.Module):
    """A discriminator that counts its training steps."""

    steps: Tensor

    def __init__(self, network: Discriminator) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Sequence[Tensor], prompts: Sequence[Tensor] = ()) -> list[Tensor]:
        """Return logits; see :class:`Discriminator`."""
        logits: list[Tensor] = self.network(images, prompts)
        return logits

    def is_due(self, every: int) -> bool:
        """Count a step, and return True on the first and on each ``every``-th after it."""
        due = int(self.steps) % every == 0
        self.steps.add_(1)
        return due


def r1_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """Return the mean squared gradient norm of the mean logit by real images (arXiv:1801.04406, eq. 9)."""
    (gradients,) = torch.autograd.grad(logits.mean(1).sum(), images, create_graph=True)
    return gradients.square().sum((1, 2, 3)).mean()
