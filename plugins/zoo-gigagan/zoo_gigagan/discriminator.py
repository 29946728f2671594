"""GigaGAN's discriminator: pictures of several sizes in, and for each of them logits at several sizes out.

Kang et al. 2023, arXiv:2303.05511, section 3.4: a low-resolution picture enters on its own, and every map on
the way down is judged beside the prompt. A judge at one size alone leaves the generator's early layers idle.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gigagan.attention import SelfAttention
from zoo_gigagan.equalized import EqualizedConv, EqualizedLinear, leaky_relu
from zoo_gigagan.text import FIRST, TextEncoder
from zoo_gigagan.text_to_image import SMALLEST, TextToImageConfig

GROUP = 4
"""Pictures whose spread is told to each of them."""


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
        text_width: Of the descriptor.
        last: True for the smallest map, which is judged as a whole, beside its spread within the batch.
    """

    def __init__(self, channels: int, text_width: int, last: bool) -> None:
        super().__init__()
        self.last = last
        self.scale = EqualizedLinear(text_width, channels)
        self.wanted = EqualizedLinear(text_width, channels)
        if last:
            self.conv = EqualizedConv(channels + 1, channels, 3)
            self.whole = EqualizedLinear(channels * SMALLEST**2, channels)
        else:
            self.conv = EqualizedConv(channels, channels, 1)
        self.out = EqualizedLinear(channels, 1)
        self.compared = EqualizedLinear(channels, channels)

    def forward(self, x: Tensor, texts: Sequence[Tensor]) -> list[Tensor]:
        """Map x (n, c, h, w) and one descriptor of each (n, width), or several, to as many logits (n,)."""
        if self.last:
            x = leaky_relu(self.conv(torch.cat([x, spread(x)], 1)))
            x = leaky_relu(self.whole(x.flatten(1)))[:, :, None, None]
        logits = []
        for text in texts:
            scaled = x * (1 + self.scale(text)[:, :, None, None])
            seen = (scaled if self.last else leaky_relu(self.conv(scaled))).mean((2, 3))
            agreement = (self.compared(seen) * self.wanted(text)).sum(1) / math.sqrt(x.shape[1])
            logits.append(self.out(seen)[:, 0] + agreement)
        return logits


def spread(x: Tensor) -> Tensor:
    """Return the deviation within groups of the batch x (n, c, h, w), a mean over everything: (n, 1, h, w).

    What a group has in common betrays a generator that always draws the same: arXiv:1710.10196, section 3.
    """
    n, _, h, w = x.shape
    group = max(size for size in range(1, GROUP + 1) if n % size == 0)
    deviation = (x.reshape(n // group, group, -1).var(1, unbiased=False) + 1e-8).sqrt().mean(1)
    return deviation.repeat_interleave(group).view(n, 1, 1, 1).expand(n, 1, h, w)


class Discriminator(nn.Module):
    """Pictures of several sizes and their prompts to logits of being real and of fitting.

    Args:
        config: The generator's; it has a text encoder like it, of its own.
        channels: Of its feature maps, from 4×4 up.
        entries: Sides of the pictures that enter.
        attention: Sides of the maps that have attention.
    """

    def __init__(
        self,
        config: TextToImageConfig,
        channels: Sequence[int],
        entries: Sequence[int],
        attention: Sequence[int],
    ) -> None:
        super().__init__()
        self.sizes, self.entries = config.sizes, tuple(entries)
        width = config.text_width
        self.text = TextEncoder(
            FIRST + len(config.vocabulary), config.context + 1, width, config.text_layers, config.heads
        )
        of = dict(zip(self.sizes, channels, strict=True))
        self.from_rgb = nn.ModuleDict({str(size): EqualizedConv(3, of[size], 1) for size in self.entries})
        self.blocks = nn.ModuleDict(
            {
                str(size): Block(of[size], of[size // 2], config.heads if size in attention else None)
                for size in self.sizes[1:]
            }
        )
        self.judges = nn.ModuleDict(
            {str(size): Judge(of[size], width, size == SMALLEST) for size in self.sizes[:-1]}
        )

    def forward(self, pictures: Sequence[Tensor], prompts: Sequence[Tensor]) -> list[Tensor]:
        """Judge n pictures beside one prompt each, or several.

        Args:
            pictures: For each of ``entries``, (n, 3, side, side) in [-1, 1].
            prompts: (n, length) int64, each.

        Returns:
            For each of the prompts, logits (n, judgements): equation 6's sum is over the second axis.
        """
        texts = [self.text(tokens).whole for tokens in prompts]
        judged: list[list[Tensor]] = []
        for entry, picture in zip(self.entries, pictures, strict=True):
            x = leaky_relu(self.from_rgb[str(entry)](picture))
            for size in reversed([size for size in self.sizes if size <= entry]):
                if size < entry or size == SMALLEST:
                    judged.append(self.judges[str(size)](x, texts))
                if size > SMALLEST:
                    x = self.blocks[str(size)](x)
        return [torch.stack(logits, 1) for logits in zip(*judged, strict=True)]
