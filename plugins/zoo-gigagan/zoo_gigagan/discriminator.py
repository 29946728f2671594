"""GigaGAN's discriminator: images of several sizes in, and for each of them logits at several sizes out.

Kang et al. 2023, arXiv:2303.05511, section 3.4: a low-resolution image enters on its own, and every map on
the way down is judged beside the prompt. A judge at one size alone leaves the generator's early layers idle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gigagan.attention import SelfAttention
from zoo_gigagan.equalized import EqualizedConv, EqualizedLinear, leaky_relu
from zoo_gigagan.text import TextEncoder
from zoo_gigagan.text_to_image import SMALLEST

GROUP = 4
"""Images whose spread is told to each of them."""


class Block(nn.Module):
    """A map to one of half the side, beside a shortcut."""

    def __init__(self, into: int, out: int, heads: int | None) -> None:
        super().__init__()
        self.attention = None if heads is None else SelfAttention(into, heads)
        self.conv = EqualizedConv(into, into, 3)
        self.down = EqualizedConv(into, out, 3, stride=2)
        self.skip = EqualizedConv(into, out, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h/2, w/2)."""
        if self.attention is not None:
            x = self.attention(x)
        y = leaky_relu(self.down(leaky_relu(self.conv(x))))
        made: Tensor = (y + self.skip(F.avg_pool2d(x, 2))) * math.sqrt(0.5)
        return made


class Judge(nn.Module):
    """A map, place by place, beside the prompt: 1×1 convolutions that the text scales, and a projection.

    Args:
        channels: Of the map.
        text_width: Of the descriptor; None: there are no prompts.
        last: True for the smallest map, which is judged as a whole, beside its spread within the batch.
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
            self.whole = EqualizedLinear(channels * SMALLEST**2, channels)
        else:
            self.conv = EqualizedConv(channels, channels, 1)
        self.out = EqualizedLinear(channels, 1)

    def forward(self, x: Tensor, texts: Sequence[Tensor | None]) -> list[Tensor]:
        """Map x (n, c, h, w) and one descriptor of each (n, width), or several, to as many logits (n,)."""
        if self.last:
            x = leaky_relu(self.conv(torch.cat([x, spread(x)], 1)))
            x = leaky_relu(self.whole(x.flatten(1)))[:, :, None, None]
        logits = []
        for text in texts:
            scaled = x if text is None else x * (1 + self.scale(text)[:, :, None, None])
            seen = (scaled if self.last else leaky_relu(self.conv(scaled))).mean((2, 3))
            logits.append(self.out(seen)[:, 0])
            if text is not None:
                agreement = (self.compared(seen) * self.wanted(text)).sum(1) / math.sqrt(x.shape[1])
                logits[-1] = logits[-1] + agreement
        return logits


def spread(x: Tensor) -> Tensor:
    """Return the deviation within groups of the batch x (n, c, h, w), a mean over everything: (n, 1, h, w).

    What a group has in common betrays a generator that always draws the same: arXiv:1710.10196, section 3.
    """
    n, _, h, w = x.shape
    group = max(size for size in range(1, GROUP + 1) if n % size == 0)
    deviation = (x.reshape(n // group, group, -1).var(1, unbiased=False) + 1e-8).sqrt().mean(1)
    return deviation.repeat_interleave(group).view(n, 1, 1, 1).expand(n, 1, h, w)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """The shape of a discriminator."""

    channels: tuple[int, ...]
    """Of its feature maps, from 4×4 up."""
    entries: tuple[int, ...]
    """Sides of the images that enter."""
    attention: tuple[int, ...] = ()
    """Sides of the maps that have attention."""
    heads: int = 4
    image_channels: int = 3


class Discriminator(nn.Module):
    """Images of several sizes, and their prompts where there are some, to logits of being real and fitting.

    Args:
        config: Its shape.
        text: Reads the prompts; None: there are none.
    """

    def __init__(self, config: DiscriminatorConfig, text: TextEncoder | None = None) -> None:
        super().__init__()
        self.entries, self.text = config.entries, text
        of = {SMALLEST << level: width for level, width in enumerate(config.channels)}
        self.sizes = tuple(of)
        heads = {size: config.heads if size in config.attention else None for size in of}
        self.from_rgb = nn.ModuleDict(
            {str(entry): EqualizedConv(config.image_channels, of[entry], 1) for entry in config.entries}
        )
        self.blocks = nn.ModuleDict(
            {str(size): Block(of[size], of[size // 2], heads[size]) for size in self.sizes[1:]}
        )
        width = None if text is None else text.width
        self.judges = nn.ModuleDict(
            {str(size): Judge(of[size], width, size == SMALLEST) for size in self.sizes[:-1]}
        )

    def forward(self, images: Sequence[Tensor], prompts: Sequence[Tensor] = ()) -> list[Tensor]:
        """Judge n images beside one prompt each, or several.

        Args:
            images: For each of the entries, (n, c, side, side) in [-1, 1].
            prompts: (n, length) int64, each; none where there is no text.

        Returns:
            For each of the prompts, or once, logits (n, judgements): equation 6 sums over the latter.
        """
        texts = [None] if self.text is None else [self.text(tokens).whole for tokens in prompts]
        judged: list[list[Tensor]] = []
        for entry, image in zip(self.entries, images, strict=True):
            x = leaky_relu(self.from_rgb[str(entry)](image))
            for size in reversed([size for size in self.sizes if size <= entry]):
                if size < entry or size == SMALLEST:
                    judged.append(self.judges[str(size)](x, texts))
                if size > SMALLEST:
                    x = self.blocks[str(size)](x)
        return [torch.stack(logits, 1) for logits in zip(*judged, strict=True)]


class DiscriminatorInTraining(nn.Module):
    """The discriminator, and how many steps it has made."""

    steps: Tensor

    def __init__(self, network: Discriminator) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def forward(self, images: Sequence[Tensor], prompts: Sequence[Tensor] = ()) -> list[Tensor]:
        """Judge images; see ``Discriminator``."""
        logits: list[Tensor] = self.network(images, prompts)
        return logits

    def is_time(self, every: int) -> bool:
        """Count a step; return whether it is one of those that come every so many."""
        now = int(self.steps) % every == 0
        self.steps.add_(1)
        return now


def gradient_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """R1: the mean squared norm of the mean logit's gradient by real images (arXiv:1801.04406, eq. 9)."""
    (gradients,) = torch.autograd.grad(logits.mean(1).sum(), images, create_graph=True)
    return gradients.square().sum((1, 2, 3)).mean()
