"""StyleGAN2's generator: modulated convolutions turn a learned constant into an image.

Karras et al. 2020, "Analyzing and Improving the Image Quality of StyleGAN", arXiv:1912.04958; with the
options of "Training Generative Adversarial Networks with Limited Data", arXiv:2006.06676. From the bottom up:
filter, layers, block, synthesis network, generator. Tensors have the names of NVIDIA's PyTorch checkpoints.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_stylegan.networks.layers import (
    GAIN,
    SLOPE,
    Bound,
    Channels,
    Classes,
    Depth,
    EqualLinear,
    Latent,
    Side,
    Width,
    demodulation,
    modulate,
)
from zoo_stylegan.networks.mapping import MappingNetwork

FILTER = (1.0, 3.0, 3.0, 1.0)
"""Taps of the binomial low-pass filter that every upsampling and downsampling uses."""
MIN_RESOLUTION = 4
"""Side of the learned constant, the input of the first block."""


@dataclass(frozen=True)
class StyleGAN2Config:
    """The architecture of a StyleGAN2 generator, as config.json has it."""

    resolution: Side
    """Side of the images: a power of two, at least 8."""
    channels: tuple[Width, ...]
    """Channels of the feature maps, from 4×4 up to the resolution."""
    z_dim: Latent = 512
    w_dim: Latent = 512
    classes: Classes = 0
    """Number of classes; 0: unconditional."""
    mapping_layers: Depth = 8
    image_channels: Channels = 3
    architecture: Literal["skip", "resnet"] = "skip"
    """``skip`` sums images of all resolutions, ``resnet`` feature maps: section 4.1."""
    clamp: Bound | None = None
    """Clamp the output of each layer to ±this; None: no clamping."""

    def __post_init__(self) -> None:
        """Raise ValueError if there is not one entry of ``channels`` per resolution from 4 up."""
        if len(self.channels) < 2 or self.resolution != MIN_RESOLUTION << (len(self.channels) - 1):
            raise ValueError(
                f"resolution is {self.resolution}, which does not fit channels; expected a power of two "
                "from 8, and a number of channels for each power of two from 4 to it"
            )

    @property
    def resolutions(self) -> tuple[int, ...]:
        """Resolution of each block, from 4 up."""
        return tuple(MIN_RESOLUTION << index for index in range(len(self.channels)))

    @property
    def layers(self) -> int:
        """Number of styles an image takes: one w for each layer."""
        return 2 * len(self.channels)

    @property
    def noise_sizes(self) -> list[int]:
        """Side of the noise map of each convolution, in order."""
        return [size for size in self.resolutions for _ in range(1 if size == MIN_RESOLUTION else 2)]


class FIRFilter(nn.Module):
    """Holds the filter that checkpoints contain; all are the same, and :func:`fir_filter` has its own."""

    resample_filter: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("resample_filter", fir_kernel(torch.tensor(FILTER)).clone())


def fir_kernel(like: Tensor) -> Tensor:
    """Return the filter, (4, 4) with sum 1, with the dtype and device of ``like``."""
    return _fir_kernel(like.dtype, like.device)


@lru_cache(maxsize=16)
def _fir_kernel(dtype: torch.dtype, device: torch.device) -> Tensor:
    # Cached, because each copy to a GPU would wait for it.
    with torch.inference_mode(False):
        total = sum(FILTER) ** 2
        return torch.tensor([[a * b / total for b in FILTER] for a in FILTER], dtype=dtype, device=device)


def fir_filter(x: Tensor, pad: int, gain: float) -> Tensor:
    """Pad x (n, c, h, w) with ``pad`` zeros on every side and filter each channel."""
    c = x.shape[1]
    return F.conv2d(x, (fir_kernel(x) * gain).expand(c, 1, 4, 4), padding=pad, groups=c)


def upsample(x: Tensor) -> Tensor:
    """Double the sides of x (n, c, h, w): insert zeros between the values, then filter.

    Both together are one depthwise transposed convolution by the filter.
    """
    c = x.shape[1]
    return F.conv_transpose2d(x, (fir_kernel(x) * 4).expand(c, 1, 4, 4), stride=2, padding=1, groups=c)


def prefers_dense_conv(x: Tensor) -> bool:
    """Return True on a device where a depthwise filter takes longer than a dense convolution."""
    return x.device.type != "cpu"


def convolve_upsampled(x: Tensor, weight: Tensor) -> Tensor:
    """Double the sides of x (n, in, h, w): insert zeros, convolve by (out, in, 3, 3), then filter."""
    if prefers_dense_conv(x):
        # Fold the filter into the weights, which become 6×6: more multiplications, one memory pass less.
        taps = torch.eye(9, dtype=weight.dtype, device=weight.device).view(9, 1, 3, 3)
        filtered = F.conv2d(taps, fir_kernel(weight)[None, None] * 4, padding=3)  # (9, 1, 6, 6)
        folded = (weight.flatten(2) @ filtered.flatten(1)).view(*weight.shape[:2], 6, 6)
        return F.conv_transpose2d(x, folded.transpose(0, 1), stride=2, padding=2)
    x = F.conv_transpose2d(x, weight.transpose(0, 1), stride=2)  # (n, out, 2h + 1, 2w + 1)
    return fir_filter(x, pad=1, gain=4)


class SynthesisLayer(FIRFilter):
    """A modulated 3×3 convolution, noise, bias and leaky ReLU."""

    noise_const: Tensor

    def __init__(
        self, config: StyleGAN2Config, index: int, in_channels: int, *, up: bool = False, gain: float = 1.0
    ) -> None:
        super().__init__()
        out_channels, resolution = config.channels[index], config.resolutions[index]
        self.up = up
        self.gain = GAIN * gain
        self.clamp = None if config.clamp is None else config.clamp * gain
        self.affine = EqualLinear(config.w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 3, 3))
        self.bias = nn.Parameter(torch.zeros(out_channels))
        self.noise_strength = nn.Parameter(torch.zeros(()))
        self.register_buffer("noise_const", torch.randn(resolution, resolution))

    def forward(self, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w), or (n, out, 2h, 2w) with ``up``, by styles w (n, w_dim).

        Noise is (n or 1, 1, height, width) of the output.
        """
        style = self.affine(w)
        x = modulate(x, style)
        if self.up:
            x = convolve_upsampled(x, self.weight)
        else:
            x = F.conv2d(x, self.weight, padding=1)
        x = modulate(x, demodulation(self.weight, style))
        if noise is not None:
            x = x + noise * self.noise_strength
        x = F.leaky_relu(x + self.bias[:, None, None], SLOPE) * self.gain
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class ToRGB(nn.Module):
    """A modulated 1×1 convolution to image channels, without demodulation."""

    def __init__(self, config: StyleGAN2Config, in_channels: int) -> None:
        super().__init__()
        self.clamp = config.clamp
        self.affine = EqualLinear(config.w_dim, in_channels, bias_init=1.0)
        self.weight = nn.Parameter(torch.randn(config.image_channels, in_channels, 1, 1))
        self.bias = nn.Parameter(torch.zeros(config.image_channels))

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, h, w)."""
        style = self.affine(w) / math.sqrt(self.weight.shape[1])
        x = F.conv2d(modulate(x, style), self.weight, self.bias)
        return x if self.clamp is None else x.clamp(-self.clamp, self.clamp)


class Shortcut(FIRFilter):
    """The shortcut of a residual block: a 1×1 convolution and upsampling."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(out_channels, in_channels, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, in, h, w) to (n, out, 2h, 2w)."""
        return upsample(F.conv2d(x, self.weight * (math.sqrt(0.5) / math.sqrt(self.weight.shape[1]))))


class SynthesisBlock(FIRFilter):
    """The layers of one resolution; the first block has the learned constant and no ``conv0``."""

    def __init__(self, config: StyleGAN2Config, index: int) -> None:
        super().__init__()
        channels, in_channels = config.channels[index], config.channels[index - 1]
        is_residual = config.architecture == "resnet" and index > 0
        self.is_first = index == 0
        if self.is_first:
            self.const = nn.Parameter(torch.randn(channels, MIN_RESOLUTION, MIN_RESOLUTION))
        else:
            self.conv0 = SynthesisLayer(config, index, in_channels, up=True)
        self.conv1 = SynthesisLayer(config, index, channels, gain=math.sqrt(0.5) if is_residual else 1.0)
        self.skip = Shortcut(in_channels, channels) if is_residual else None
        has_torgb = config.architecture == "skip" or index == len(config.channels) - 1
        self.torgb = ToRGB(config, channels) if has_torgb else None

    @property
    def convolutions(self) -> tuple[SynthesisLayer, ...]:
        """The 3×3 convolutions, in order; each takes a style and noise."""
        return (self.conv1,) if self.is_first else (self.conv0, self.conv1)

    def forward(
        self, x: Tensor | None, image: Tensor | None, ws: Tensor, noises: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor | None]:
        """Return the feature maps and the image at this block's resolution.

        The first block has no feature maps x (n, in, h, w) and image (n, c, h, w) of a block before. ``ws``
        (n, m, w_dim) has a style for each convolution, and one for ``torgb``.
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
            rgb = self.torgb(x, ws[:, len(self.convolutions)])
            image = rgb if image is None else image + rgb
        return x, image


class SynthesisNetwork(nn.Module):
    """Maps styles to images."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        for index, resolution in enumerate(config.resolutions):
            self.add_module(f"b{resolution}", SynthesisBlock(config, index))

    @property
    def blocks(self) -> list[SynthesisBlock]:
        """The blocks, from 4×4 up."""
        blocks = (self.get_submodule(f"b{resolution}") for resolution in self.config.resolutions)
        return [block for block in blocks if isinstance(block, SynthesisBlock)]

    def constant_noise(self) -> list[Tensor]:
        """Return the noise stored in the checkpoint, (1, 1, h, w) for each convolution."""
        return [layer.noise_const[None, None] for block in self.blocks for layer in block.convolutions]

    def forward(self, ws: Tensor, noises: Sequence[Tensor | None] | None = None) -> Tensor:
        """Map styles (n, layers, w_dim) to images (n, c, resolution, resolution), roughly in [-1, 1].

        Styles begin with the coarsest; ``noises`` has (n or 1, 1, h, w) for each convolution.
        """
        x: Tensor | None = None
        image: Tensor | None = None
        first = 0
        for block in self.blocks:
            last = first + len(block.convolutions)
            own = [None] * (last - first) if noises is None else noises[first:last]
            x, image = block(x, image, ws[:, first : last + 1], own)
            first = last
        assert image is not None
        return image


class StyleGAN2(nn.Module):
    """The whole generator: mapping and synthesis networks."""

    def __init__(self, config: StyleGAN2Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config.z_dim, config.classes, config.w_dim, config.mapping_layers)
        self.synthesis = SynthesisNetwork(config)


def filter_buffers(config: StyleGAN2Config) -> dict[str, Tensor]:
    """Return the filters by name, for checkpoints that lack them; all filters are the same."""
    with torch.device("meta"):
        names = [name for name in StyleGAN2(config).state_dict() if name.endswith(".resample_filter")]
    return dict.fromkeys(names, FIRFilter().resample_filter)


def noise_buffers(config: StyleGAN2Config) -> dict[str, Tensor]:
    """Return noise maps by name, drawn from seed 0, for checkpoints that lack them."""
    random = torch.Generator().manual_seed(0)
    convolutions = [
        f"synthesis.b{size}.conv{index}"
        for size in config.resolutions
        for index in ((1,) if size == MIN_RESOLUTION else (0, 1))
    ]
    return {
        f"{name}.noise_const": torch.randn(size, size, generator=random)
        for name, size in zip(convolutions, config.noise_sizes, strict=True)
    }
