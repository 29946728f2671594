"""StyleGAN2's generator: a constant grows into an image, each convolution's inputs scaled by a style.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", arXiv:1912.04958; with the
options of "Training Generative Adversarial Networks with Limited Data", arXiv:2006.06676. From the bottom up:
filters, layers, block, synthesis, generator. Tensors have the names of NVIDIA's PyTorch checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_stylegan.layers import GAIN, SLOPE, EqualLinear, demodulation, scale
from zoo_stylegan.mapping import Mapping

FILTER = (1.0, 3.0, 3.0, 1.0)
"""The binomial low-pass filter of every change of resolution."""
SMALLEST = 4
"""Side of the constant."""


@dataclass(frozen=True)
class StyleGAN2Config:
    """What tells one StyleGAN2 from another."""

    resolution: int
    """Side of the images: a power of two, at least 8."""
    channels: tuple[int, ...]
    """Of the feature maps, from 4×4 up to the resolution."""
    z_dim: int = 512
    w_dim: int = 512
    classes: int = 0
    """0: unconditional."""
    mapping_layers: int = 8
    image_channels: int = 3
    architecture: str = "skip"
    """``skip`` adds up images of all resolutions, ``resnet`` feature maps: section 4.1."""
    clamp: float | None = None
    """Bound of what a layer gives, on both sides."""

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Of the blocks, 4 first."""
        return tuple(SMALLEST << index for index in range(len(self.channels)))

    @property
    def layers(self) -> int:
        """Styles that an image reads."""
        return 2 * len(self.channels)

    @property
    def noise_sizes(self) -> list[int]:
        """Sides of the noise of each convolution, in order."""
        return [size for size in self.resolutions for _ in range(1 if size == SMALLEST else 2)]


class Blur(nn.Module):
    """Holds the filter as checkpoints carry it; there is only one, which :func:`blur` knows."""

    resample_filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("resample_filter", kernel(torch.tensor(FILTER)).clone())


def kernel(like: Tensor) -> Tensor:
    """The filter, (4, 4), of sum 1, in the type of ``like`` and where that is."""
    return _kernel(like.dtype, like.device)


@lru_cache(maxsize=16)
def _kernel(dtype: torch.dtype, device: torch.device) -> Tensor:
    """Made once: a GPU would be waited for each time."""
    with torch.inference_mode(False):
        taps = torch.tensor(FILTER, dtype=dtype, device=device)
        return torch.outer(taps, taps) / taps.sum().square()


def blur(x: Tensor, pad: int, gain: float) -> Tensor:
    """Filter each channel of x (n, c, h, w), ``pad`` zeros added on every side."""
    c = x.shape[1]
    return F.conv2d(x, (kernel(x) * gain).expand(c, 1, 4, 4), padding=pad, groups=c)


def upsample(x: Tensor) -> Tensor:
    """Double the sides of x (n, c, h, w): zeros between the values, then the filter.

    Both at once is a transposed convolution with the filter, each channel for itself.
    """
    c = x.shape[1]
    return F.conv_transpose2d(x, (kernel(x) * 4).expand(c, 1, 4, 4), stride=2, padding=1, groups=c)


def has_fast_products(x: Tensor) -> bool:
    """Whether convolutions of many channels are so fast, where x is, that the filter's takes longer."""
    return x.device.type != "cpu"


def convolve_upsampled(x: Tensor, weight: Tensor) -> Tensor:
    """Double the sides of x (n, in, h, w): zeros, a convolution by (out, in, 3, 3), then the filter."""
    if has_fast_products(x):
        # Both kernels at once are one of 6×6: more multiplications, and one pass less over what is large.
        taps = torch.eye(9, dtype=weight.dtype, device=weight.device).view(9, 1, 3, 3)
        filtered = F.conv2d(taps, kernel(weight)[None, None] * 4, padding=3)  # (9, 1, 6, 6)
        both = (weight.flatten(2) @ filtered.flatten(1)).view(*weight.shape[:2], 6, 6)
        return F.conv_transpose2d(x, both.transpose(0, 1), stride=2, padding=2)
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # one larger than twice
    return blur(x, pad=1, gain=4)


class SynthesisLayer(Blur):
    """A modulated 3×3 convolution, noise, bias and leaky ReLU."""

    noise_const: Tensor

    def __init__(
        self, into: int, out: int, w_dim: int, resolution: int, *, up: bool, gain: float, clamp: float | None
    ) -> None:
        super().__init__()
        self.up = up
        self.gain = GAIN * gain
        self.clamp = None if clamp is None else clamp * gain
        self.affine = EqualLinear(w_dim, into, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out, into, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w), twice as large with ``up``.

        Args:
            x: Feature maps.
            w: (n, w_dim).
            noise: (n or 1, 1, height, width) of the output, or None for none.
        """
        style = self.affine(w)
        x = scale(x, style)
        if self.up:
            x = convolve_upsampled(x, self.weight)
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = scale(x, demodulation(self.weight, style))
        if noise is not None:
            x = x + noise * self.noise_strength
        x = F.leaky_relu(x + self.bias[:, None, None], SLOPE) * self.gain
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """A modulated 1×1 convolution to colours, without demodulation."""

    def __init__(self, into: int, out: int, w_dim: int, clamp: float | None) -> None:
        super().__init__()
        self.clamp = clamp
        self.affine = EqualLinear(w_dim, into, bias=1.0)
        self.weight = nn.Parameter(torch.randn(out, into, 1, 1))
        self.bias = nn.Parameter(torch.zeros(out))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w)."""
        style = self.affine(w) / math.sqrt(self.weight.shape[1])
        x = F.conv2d(scale(x, style), self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Shortcut(Blur):
    """A 1×1 convolution to twice the resolution: what a residual block adds to."""

    def __init__(self, into: int, out: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out, into, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, 2h, 2w)."""
        return upsample(F.conv2d(x, self.weight * (math.sqrt(0.5) / math.sqrt(self.weight.shape[1]))))


class Block(Blur):
    """The layers of one resolution; the first block has the constant in place of its first convolution."""

    def __init__(self, config: StyleGAN2Config, index: int) -> None:
        super().__init__()
        resolution, out = config.resolutions[index], config.channels[index]
        is_residual = config.architecture == "resnet" and index > 0
        self.is_first = index == 0

        def layer(into: int, *, up: bool = False, gain: float = 1.0) -> SynthesisLayer:
            return SynthesisLayer(into, out, config.w_dim, resolution, up=up, gain=gain, clamp=config.clamp)

        if self.is_first:
            self.const = nn.Parameter(torch.randn(out, resolution, resolution))
        else:
            self.conv0 = layer(config.channels[index - 1], up=True)
        self.conv1 = layer(out, gain=math.sqrt(0.5) if is_residual else 1.0)
        self.skip = Shortcut(config.channels[index - 1], out) if is_residual else None
        is_last = index == len(config.channels) - 1
        self.torgb = (
            ToRGB(out, config.image_channels, config.w_dim, config.clamp)
            if is_last or config.architecture == "skip"
            else None
        )

    @property
    def convolutions(self) -> tuple[SynthesisLayer, ...]:
        """Those that read a style and take noise, in order."""
        return (self.conv1,) if self.is_first else (self.conv0, self.conv1)

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, noises: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Grow features and image by one resolution.

        Args:
            x: (n, in, h, w); None for the first block.
            image: (n, c, h, w), None where there is none yet.
            ws: (n, m, w_dim): a style for each convolution, and the one after them for the colours.
            noises: One for each convolution.
        """
        shortcut = None
        if x is None:
            x = self.const.expand(len(ws), -1, -1, -1).contiguous(memory_format=torch.channels_last)
        elif self.skip is not None:
            shortcut = self.skip(x)
        for index, convolution in enumerate(self.convolutions):
            x = convolution(x, ws[:, index], noises[index])
        if shortcut is not None:
            x = x + shortcut
        if image is not None:
            image = upsample(image)
        if self.torgb is not None:
            colours = self.torgb(x, ws[:, len(self.convolutions)])
            image = colours if image is None else image + colours
        return x, image


class Synthesis(nn.Module):
    """Styles to images."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        for index, resolution in enumerate(config.resolutions):
            self.add_module(f"b{resolution}", Block(config, index))

    @property
    def blocks(self) -> list[Block]:
        """From 4×4 on."""
        blocks = (self.get_submodule(f"b{resolution}") for resolution in self.config.resolutions)
        return [block for block in blocks if isinstance(block, Block)]

    def constant_noise(self) -> list[Tensor]:
        """The noise that the checkpoint carries, (1, 1, h, w) for each convolution."""
        return [layer.noise_const[None, None] for block in self.blocks for layer in block.convolutions]

    def forward(self, ws: Tensor, noises: Sequence[Tensor | None] | None = None) -> Tensor:
        """Map styles (n, layers, w_dim) to images (n, c, resolution, resolution), about [-1, 1].

        Args:
            ws: A style for each layer, the coarsest first.
            noises: (n or 1, 1, h, w) for each convolution; None: no noise.
        """
        x: Tensor | None = None
        image: Tensor | None = None
        at = 0
        for block in self.blocks:
            count = len(block.convolutions)
            given = [None] * count if noises is None else noises[at : at + count]
            x, image = block(x, image, ws[:, at : at + count + 1], given)
            at += count
        assert image is not None
        return image


class StyleGAN2(nn.Module):
    """The generator, whole: mapping and synthesis."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.z_dim, config.classes, config.w_dim, config.mapping_layers)
        self.synthesis = Synthesis(config)


def filter_buffers(config: StyleGAN2Config) -> dict[str, Tensor]:
    """The filters that NVIDIA's checkpoints carry and others do not, by name: all are the same."""
    with torch.device("meta"):
        names = [name for name in StyleGAN2(config).state_dict() if name.endswith(".resample_filter")]
    return dict.fromkeys(names, Blur().resample_filter)
