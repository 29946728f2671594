"""StyleGAN3's generator: continuous signals, from Fourier features to an image that moves with them.

Karras et al. 2021, "Alias-Free Generative Adversarial Networks", arXiv:2106.12423. Every layer works at the
rate that its signal's band needs, and every leaky ReLU between an upsampling and a downsampling with designed
filters (section 3). Configuration T is equivariant to translation, R to rotation too, by 1×1 convolutions
and radial filters. Tensors have the names of NVIDIA's PyTorch checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_stylegan.filters import design_lowpass, downsample, upsample
from zoo_stylegan.layers import EPS, GAIN, SLOPE, EqualLinear, scale
from zoo_stylegan.mapping import Mapping


@dataclass(frozen=True)
class StyleGAN3Config:
    """What tells one StyleGAN3 from another."""

    resolution: int
    channel_base: int = 32768
    channel_max: int = 512
    z_dim: int = 512
    w_dim: int = 512
    classes: int = 0
    mapping_layers: int = 2
    image_channels: int = 3
    count: int = 14
    """Layers between the Fourier features and the colours."""
    critical: int = 2
    """Of them, how many of the last are sampled critically: they trade aliasing for detail."""
    first_cutoff: float = 2.0
    first_stopband: float = 2**2.1
    last_stopband_rel: float = 2**0.3
    margin: int = 10
    """Pixels beyond the image on each side, so that its border is nothing special."""
    output_scale: float = 0.25
    kernel: int = 3
    filter_size: int = 6
    """Taps of a filter for each step of its factor."""
    upsampling: int = 2
    """Rate of a leaky ReLU over that of its layer."""
    radial: bool = False
    clamp: float | None = 256.0

    @property
    def layers(self) -> int:
        """Styles that an image reads."""
        return self.count + 2


@dataclass(frozen=True)
class Band:
    """The signal between two layers."""

    size: int
    """Pixels of a side, margins included."""
    rate: int
    """Samples over the width of the image."""
    cutoff: float
    half_width: float
    """Half of the transition band of a filter that ends at the cutoff."""
    channels: int


def bands(config: StyleGAN3Config) -> list[Band]:
    """The signals after the Fourier features and each layer: arXiv:2106.12423, sections 3.2 and C.1."""
    last_cutoff = config.resolution / 2
    last_stopband = last_cutoff * config.last_stopband_rel
    found = []
    for index in range(config.count + 1):
        position = min(index / (config.count - config.critical), 1.0)
        cutoff = config.first_cutoff * (last_cutoff / config.first_cutoff) ** position
        stopband = config.first_stopband * (last_stopband / config.first_stopband) ** position
        rate = 2 ** math.ceil(math.log2(min(2 * stopband, config.resolution)))
        size = config.resolution if index >= config.count - 1 else rate + 2 * config.margin
        channels = round(min(config.channel_base / 2 / cutoff, config.channel_max))
        if index == config.count:
            channels = config.image_channels
        found.append(Band(size, rate, cutoff, max(stopband, rate / 2) - cutoff, channels))
    return found


class FourierInput(nn.Module):
    """A random, learned mixture of sinusoids, turned and moved by the style and by who runs it."""

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, w_dim: int, band: Band) -> None:
        super().__init__()
        self.band = band
        # Frequencies evenly in the disc of the band: section 3.1.
        freqs = torch.randn(band.channels, 2)
        radii = freqs.square().sum(1, keepdim=True).sqrt()
        freqs = freqs / (radii * radii.square().exp().pow(0.25)) * band.cutoff
        self.weight = nn.Parameter(torch.randn(band.channels, band.channels))
        self.affine = EqualLinear(w_dim, 4)
        self.affine.weight.data.zero_()
        self.affine.bias.data = torch.tensor([1.0, 0.0, 0.0, 0.0])
        self.register_buffer("transform", torch.eye(3))
        self.register_buffer("freqs", freqs)
        self.register_buffer("phases", torch.rand(band.channels) - 0.5)

    def forward(self, w: Tensor, transform: Tensor | None = None) -> Tensor:
        """Map w (n, w_dim) to feature maps (n, channels, size, size).

        Args:
            w: Styles.
            transform: (3, 3) or (n, 3, 3), from places in the image to places in the signal: the inverse of
                what is to be done to the image. None: the one that the checkpoint has.
        """
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)  # (cos, sin, x, y)
        turn = torch.eye(3, dtype=t.dtype, device=t.device).repeat(len(t), 1, 1)
        turn[:, 0, 0], turn[:, 0, 1] = t[:, 0], -t[:, 1]
        turn[:, 1, 0], turn[:, 1, 1] = t[:, 1], t[:, 0]
        move = torch.eye(3, dtype=t.dtype, device=t.device).repeat(len(t), 1, 1)
        move[:, 0, 2], move[:, 1, 2] = -t[:, 2], -t[:, 3]
        given = self.transform if transform is None else transform.to(t)
        whole = turn @ move @ given  # (n, 3, 3)

        freqs = self.freqs[None] @ whole[:, :2, :2]  # (n, channels, 2)
        phases = self.phases + (self.freqs[None] @ whole[:, :2, 2:])[..., 0]  # (n, channels)
        band = self.band
        amplitudes = 1 - (freqs.norm(dim=2) - band.cutoff) / (band.rate / 2 - band.cutoff)
        # Pixel centres of the whole signal, in units of the image's width.
        at = (torch.arange(band.size, dtype=t.dtype, device=t.device) + 0.5 - band.size / 2) / band.rate
        angle = freqs[..., 0, None, None] * at + freqs[..., 1, None, None] * at[:, None]
        x = torch.sin(2 * math.pi * (angle + phases[..., None, None]))
        x = scale(x, amplitudes.clamp(0, 1))
        weight = self.weight / math.sqrt(len(self.weight))
        return F.conv2d(x, weight[:, :, None, None])


class SynthesisLayer(nn.Module):
    """A modulated convolution, then a leaky ReLU at a higher rate; or, to colours, the convolution alone."""

    up_filter: Tensor | None
    down_filter: Tensor | None
    magnitude_ema: Tensor

    def __init__(self, config: StyleGAN3Config, before: Band, after: Band, *, critical: bool, colours: bool):
        super().__init__()
        self.colours = colours
        self.size = after.size
        self.clamp = config.clamp
        kernel = 1 if colours else config.kernel
        rate = max(before.rate, after.rate) * (1 if colours else config.upsampling)
        self.up, self.down = rate // before.rate, rate // after.rate
        filtered = [factor > 1 and not colours for factor in (self.up, self.down)]
        taps = [
            config.filter_size * factor if has_filter else 1
            for factor, has_filter in zip((self.up, self.down), filtered, strict=True)
        ]
        total = (after.size - 1) * self.down + 1 + sum(taps) - 2 - (before.size + kernel - 1) * self.up
        low = (total + self.up) // 2
        self.pad = (low, total - low)
        self.affine = EqualLinear(config.w_dim, before.channels, bias=1.0)
        self.weight = nn.Parameter(torch.randn(after.channels, before.channels, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(after.channels))
        self.register_buffer("magnitude_ema", torch.ones(()))
        up = design_lowpass(taps[0], before.cutoff, 2 * before.half_width, rate)
        radial = config.radial and not critical
        down = design_lowpass(taps[1], after.cutoff, 2 * after.half_width, rate, radial=radial)
        self.register_buffer("up_filter", up)
        self.register_buffer("down_filter", down)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        """Map (n, in, size, size) to (n, out, new size, new size)."""
        style = self.affine(w)
        weight: Tensor = self.weight
        if self.colours:
            style = style / math.sqrt(weight[0].numel())
        else:
            # Unit variance before demodulation keeps ε as small as it is meant to be.
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            style = style * style.square().mean(1, keepdim=True).rsqrt()
        gain = self.magnitude_ema.rsqrt()
        x = F.conv2d(scale(x, style * gain), weight, padding=weight.shape[2] - 1)
        if not self.colours:
            energy = style.square() @ weight.square().sum((2, 3)).T
            x = scale(x, (energy + EPS).rsqrt())
        x = upsample(x + self.bias[:, None, None], self.up_filter, self.up, self.pad)
        if not self.colours:
            x = F.leaky_relu(x, SLOPE) * GAIN
        if self.clamp is not None:
            x = x.clamp(-self.clamp, self.clamp)
        return downsample(x, self.down_filter, self.down)


class Synthesis(nn.Module):
    """Styles to images."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        signals = bands(config)
        self.input = FourierInput(config.w_dim, signals[0])
        self.names = []
        for index, after in enumerate(signals):
            before = signals[max(index - 1, 0)]
            critical = index >= config.count - config.critical
            layer = SynthesisLayer(config, before, after, critical=critical, colours=index == config.count)
            self.names.append(f"L{index}_{after.size}_{after.channels}")
            self.add_module(self.names[-1], layer)

    def forward(self, ws: Tensor, transform: Tensor | None = None) -> Tensor:
        """Map styles (n, layers, w_dim) to images (n, c, resolution, resolution), about [-1, 1].

        Args:
            ws: A style for the Fourier features, then one for each layer.
            transform: Of the Fourier features: see :class:`FourierInput`.
        """
        x = self.input(ws[:, 0], transform)
        for index, name in enumerate(self.names, start=1):
            x = self.get_submodule(name)(x, ws[:, index])
        scaled: Tensor = x * self.config.output_scale
        return scaled


class StyleGAN3(nn.Module):
    """The generator, whole: mapping and synthesis."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = Mapping(config.z_dim, config.classes, config.w_dim, config.mapping_layers)
        self.synthesis = Synthesis(config)
