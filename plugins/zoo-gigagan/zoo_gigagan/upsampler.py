"""GigaGAN's upsampler: a U-Net that draws a small image again four times as large, in a style.

Kang et al. 2023, arXiv:2303.05511, section 3.4, as the AuraSR checkpoints have it: residual blocks of
adaptive convolutions, attention where the map is small, nearest-neighbour upsampling. From the bottom up:
config, levels, network.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_gigagan.layers import AdaptiveConv, ResnetBlock, StyleNetwork, Transformer
from zoo_gigagan.settings import read_settings, wrong


@dataclass(frozen=True)
class UpsamplerConfig:
    """What tells one upsampler from another, in the words of its config.json."""

    style_network: Mapping[str, int]
    """``dim_in``, ``dim_out`` and ``depth``."""
    dim: int
    image_size: int
    input_image_size: int
    up_dim_mults: tuple[int, ...] = (1, 2, 4, 8, 16)
    """Channels of the upward levels, the largest map first, in units of ``dim``."""
    down_dim_mults: tuple[int, ...] = (4, 8, 16)
    full_attn: tuple[bool, ...] = (False, False, False, True, True)
    """Which levels have attention: of the downward ones from the first, of the upward ones from the last."""
    self_attn_dim_head: int = 64
    self_attn_heads: int = 8
    attn_depths: tuple[int, ...] = (2, 2, 2, 2, 4)
    mid_attn_depth: int = 4
    num_conv_kernels: int = 4
    skip_connect_scale: float = 2**-0.5
    blocks: int = 6
    """Residual blocks of a level; published configs do not say."""
    unconditional: bool = True
    residual: bool = False
    """Whether what is drawn is added to the image, enlarged bicubically; in published ones it is not."""

    @classmethod
    def read(cls, config: Mapping[str, Any], source: str) -> UpsamplerConfig:
        """Read a config.json.

        Raises:
            WeightsError: A setting is missing, unknown, of another type, or does not fit the others.
        """
        made = read_settings(cls, config, source)
        levels = len(made.up_dim_mults)
        sides = (made.image_size, made.input_image_size)
        if any(side & (side - 1) for side in sides) or made.image_size != 4 * made.input_image_size:
            raise wrong(source, f"draws {made.image_size} pixels of {made.input_image_size}")
        if (
            not len(made.down_dim_mults) == levels - 2
            or min(len(made.full_attn), len(made.attn_depths)) < levels
        ):
            raise wrong(source, "has levels that do not fit each other")
        if not made.unconditional or set(made.style_network) != {"dim_in", "dim_out", "depth"}:
            raise wrong(source, "is conditioned on something")
        return made


class Level(nn.ModuleList):
    """Blocks at one size, and two modules after or before them, of which either may be missing.

    Checkpoints name them by number: ``0`` has the blocks, ``1`` the two.
    """

    def __init__(
        self, blocks: Iterable[ResnetBlock], first: nn.Module | None, second: nn.Module | None
    ) -> None:
        pair = nn.Module()
        pair.add_module("0", first)
        pair.add_module("1", second)
        super().__init__([nn.ModuleList(blocks), pair])

    @property
    def blocks(self) -> list[ResnetBlock]:
        """The blocks."""
        blocks = self[0]
        assert isinstance(blocks, nn.ModuleList)
        return [block for block in blocks if isinstance(block, ResnetBlock)]

    def part(self, name: str) -> nn.Module | None:
        """One of the two."""
        return self[1]._modules[name]


class Down(Level):
    """Blocks, attention where the config has it, and a convolution that halves the sides."""

    def __init__(self, config: UpsamplerConfig, index: int, into: int, out: int) -> None:
        blocks = (ResnetBlock(into, into, config.num_conv_kernels) for _ in range(config.blocks))
        halve = nn.Conv2d(into, out, 3, stride=2, padding=1)
        super().__init__(blocks, _attention(config, index, into), halve)

    @property
    def attention(self) -> nn.Module | None:
        """After the blocks."""
        return self.part("0")

    @property
    def halve(self) -> nn.Module:
        """After attention."""
        return self[1].get_submodule("1")


class Up(Level):
    """A doubling of the sides, blocks that also see what was there on the way down, and attention."""

    def __init__(self, config: UpsamplerConfig, index: int, into: int, out: int, *, skips: bool) -> None:
        read = out * 2 if skips else out
        blocks = (ResnetBlock(read, out, config.num_conv_kernels) for _ in range(config.blocks))
        super().__init__(blocks, Double(into, out), _attention(config, index, out))
        self.skips = skips

    @property
    def double(self) -> nn.Module:
        """Before the blocks."""
        return self[1].get_submodule("0")

    @property
    def attention(self) -> nn.Module | None:
        """After the blocks."""
        return self.part("1")


class Double(nn.Module):
    """Each pixel four times, then a convolution."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(into, out, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, 2h, 2w)."""
        y: Tensor = self.conv(F.interpolate(x, scale_factor=2, mode="nearest"))
        return y


def _attention(config: UpsamplerConfig, index: int, channels: int) -> Transformer | None:
    if not config.full_attn[index]:
        return None
    return Transformer(channels, config.self_attn_heads, config.self_attn_dim_head, config.attn_depths[index])


class Upsampler(nn.Module):
    """The network. Tensors have the names of the AuraSR checkpoints."""

    def __init__(self, config: UpsamplerConfig) -> None:
        super().__init__()
        self.config = config
        up = [config.dim, *(config.dim * mult for mult in config.up_dim_mults)]
        down = [
            up[len(up) - 1 - len(config.down_dim_mults)],
            *(config.dim * m for m in config.down_dim_mults),
        ]
        style = config.style_network
        self.style_network = StyleNetwork(style["dim_in"], style["dim_out"], style["depth"])
        self.init_conv = nn.Conv2d(3, down[0], 7, padding=3)
        self.downs = nn.ModuleList()
        for index, (into, out) in enumerate(pairwise(down)):
            self.downs.append(Down(config, index, into, out))
        kernels = config.num_conv_kernels
        self.mid_block1 = ResnetBlock(up[-1], up[-1], kernels)
        self.mid_attn = Transformer(
            up[-1], config.self_attn_heads, config.self_attn_dim_head, config.mid_attn_depth
        )
        self.mid_block2 = ResnetBlock(up[-1], up[-1], kernels)
        self.ups = nn.ModuleList()
        for index in reversed(range(len(config.up_dim_mults))):
            passed = len(config.up_dim_mults) - 1 - index
            skips = passed < len(config.down_dim_mults)
            self.ups.append(Up(config, index, up[index + 1], up[index], skips=skips))
        self.final_res_block = ResnetBlock(config.dim, config.dim, kernels)
        self.final_to_rgb = nn.Conv2d(config.dim, 3, 1)
        if config.residual:  # training begins with the bicubic image
            nn.init.zeros_(self.final_to_rgb.weight)
            nn.init.zeros_(self.final_to_rgb.bias)  # type: ignore[arg-type]
        widths = [width for conv in self.convolutions for width in (conv.weights.shape[2], kernels)]
        self.widths = widths
        self.style_to_conv_modulations = nn.Linear(style["dim_out"], sum(widths))

    @property
    def blocks(self) -> list[ResnetBlock]:
        """The residual blocks, in the order in which modulations are laid out."""
        down, up = (
            [block for level in levels if isinstance(level, Level) for block in level.blocks]
            for levels in (self.downs, self.ups)
        )
        return [*down, self.mid_block1, self.mid_block2, *up, self.final_res_block]

    @property
    def convolutions(self) -> list[AdaptiveConv]:
        """The adaptive convolutions, in that order."""
        return [conv for block in self.blocks for conv in block.convolutions]

    def kernels(self, styles: Tensor) -> list[Tensor]:
        """Return the kernels that styles (n, d) choose, (n, out, in, 3, 3) for each convolution.

        What an image's tiles share, they are computed once for.
        """
        parts = torch.split(self.style_to_conv_modulations(styles), self.widths, dim=1)
        return [
            conv.kernel(scale, selection)
            for conv, scale, selection in zip(self.convolutions, parts[::2], parts[1::2], strict=True)
        ]

    def forward(self, x: Tensor, kernels: Sequence[Tensor]) -> Tensor:
        """Map images (n, 3, s, s) in [0, 1] to (n, 3, 4s, 4s), about [0, 1].

        Args:
            x: The images, with the noise they are to have.
            kernels: Of :meth:`kernels`, for each image or one for all.
        """
        own = iter(kernels)
        given, x = x, self.init_conv(x)
        passed: list[Tensor] = []
        for down in self.downs:
            assert isinstance(down, Down)
            for block in down.blocks:
                x = _draw(block, x, own)
                passed.append(x)
            x = x if down.attention is None else down.attention(x)
            x = down.halve(x)
        x = _draw(self.mid_block2, self.mid_attn(_draw(self.mid_block1, x, own)), own)
        for up in self.ups:
            assert isinstance(up, Up)
            x = up.double(x)
            for block in up.blocks:
                if up.skips:
                    x = torch.cat([x, passed.pop() * self.config.skip_connect_scale], dim=1)
                x = _draw(block, x, own)
            x = x if up.attention is None else up.attention(x)
        y: Tensor = self.final_to_rgb(_draw(self.final_res_block, x, own))
        return y + F.interpolate(given, scale_factor=4, mode="bicubic") if self.config.residual else y


def _draw(block: ResnetBlock, x: Tensor, kernels: Iterator[Tensor]) -> Tensor:
    y: Tensor = block(x, next(kernels), next(kernels))
    return y
