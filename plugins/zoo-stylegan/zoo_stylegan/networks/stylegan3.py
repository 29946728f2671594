"""StyleGAN3's generator: Fourier features and alias-free layers, equivariant to translation and rotation.

Karras et al. 2021, "Alias-Free Generative Adversarial Networks", arXiv:2106.12423. Each layer has the
sampling rate that the band of its signal needs, and applies its leaky ReLU between an upsampling and a
downsampling with designed filters (section 3). Configuration T is equivariant to translation; R, with 1×1
convolutions and radial filters, to rotation too. Tensors have the names of NVIDIA's PyTorch checkpoints.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_stylegan.networks.filters import design_lowpass, downsample, upsample
from zoo_stylegan.networks.layers import (
    GAIN,
    SLOPE,
    Bound,
    Channels,
    Classes,
    Count,
    Depth,
    EqualLinear,
    Factor,
    Frequency,
    Latent,
    Margin,
    Ratio,
    Side,
    Width,
    demodulation,
    modulate,
)
from zoo_stylegan.networks.mapping import MappingNetwork


@dataclass(frozen=True)
class StyleGAN3Config:
    """The architecture of a StyleGAN3 generator, as config.json has it."""

    resolution: Side
    """Side of the images: a power of two, at least 8."""
    channel_base: Count = 32768
    """Channels of a layer times twice its cutoff frequency, up to ``channel_max``."""
    channel_max: Width = 512
    z_dim: Latent = 512
    w_dim: Latent = 512
    classes: Classes = 0
    """Number of classes; 0: unconditional."""
    mapping_layers: Depth = 2
    image_channels: Channels = 3
    count: Factor = 14
    """Number of layers between the Fourier features and ToRGB; NVIDIA's ``num_layers``."""
    critical: Depth = 2
    """Number of critically sampled layers at the end, which trade aliasing for detail: ``num_critical``."""
    first_cutoff: Frequency = 2.0
    """Cutoff frequency of the first layer, f_c,0."""
    first_stopband: Frequency = 2**2.1
    """Minimum stopband of the first layer, f_t,0."""
    last_stopband_rel: Ratio = 2**0.3
    """Minimum stopband of the last layer, relative to its cutoff."""
    margin: Margin = 10
    """Pixels beyond the image on each side, so that padding does not reach the image: ``margin_size``."""
    output_scale: Bound = 0.25
    kernel: Factor = 3
    """Side of the convolution kernels, ``conv_kernel``: 3 in configuration T, 1 in R."""
    filter_size: Factor = 6
    """Taps of a filter per unit of its up- or downsampling factor."""
    upsampling: Factor = 2
    """Sampling rate of the leaky ReLU relative to its layer: ``lrelu_upsampling``."""
    radial: bool = False
    """True for radially symmetric downsampling filters, ``use_radial_filters``: configuration R."""
    clamp: Bound | None = 256.0
    """Clamp the output of each layer to ±this; None: no clamping."""

    def __post_init__(self) -> None:
        """Raise ValueError if settings contradict each other, or the resolution is no power of two from 8."""
        if self.resolution < 8 or self.resolution & (self.resolution - 1):
            raise ValueError(f"resolution is {self.resolution}; expected a power of two from 8")
        if self.critical >= self.count:
            raise ValueError(f"critical is {self.critical}; expected less than count, which is {self.count}")
        if min(band.channels for band in bands(self)) < 1:
            raise ValueError(
                f"channel_base is {self.channel_base}, which leaves a layer without channels at resolution "
                f"{self.resolution}"
            )

    @property
    def layers(self) -> int:
        """Number of styles an image takes: one w for the Fourier features and one for each layer."""
        return self.count + 2


@dataclass(frozen=True)
class Band:
    """Size and frequency band of the signal between two layers."""

    size: int
    """Side in pixels, margins included."""
    rate: int
    """Sampling rate s: samples over the width of the image."""
    cutoff: float
    """Cutoff frequency f_c."""
    half_width: float
    """Half-width f_h of the filter's transition band."""
    channels: int


def bands(config: StyleGAN3Config) -> list[Band]:
    """Return the bands after the Fourier features and each layer: arXiv:2106.12423, sections 3.2 and C.1."""
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
    """Fourier features: sinusoids of random frequency, rotated and moved by the style, then mixed."""

    freqs: Tensor
    phases: Tensor
    transform: Tensor

    def __init__(self, w_dim: int, band: Band) -> None:
        super().__init__()
        self.band = band
        # Frequencies uniform in the disc of the band: section 3.1.
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
        """Map styles w (n, w_dim) to feature maps (n, channels, size, size).

        ``transform``, (3, 3) or (n, 3, 3), goes from image to signal coordinates: it is the inverse of
        the one to apply to the image. None: the one in the checkpoint.
        """
        t = self.affine(w)
        t = t / t[:, :2].norm(dim=1, keepdim=True)  # (cos, sin, x, y)
        rotation = torch.eye(3, dtype=t.dtype, device=t.device).repeat(len(t), 1, 1)
        rotation[:, 0, 0], rotation[:, 0, 1] = t[:, 0], -t[:, 1]
        rotation[:, 1, 0], rotation[:, 1, 1] = t[:, 1], t[:, 0]
        translation = torch.eye(3, dtype=t.dtype, device=t.device).repeat(len(t), 1, 1)
        translation[:, 0, 2], translation[:, 1, 2] = -t[:, 2], -t[:, 3]
        user = self.transform if transform is None else transform.to(t)
        combined = rotation @ translation @ user  # (n, 3, 3)

        freqs = self.freqs[None] @ combined[:, :2, :2]  # (n, channels, 2)
        phases = self.phases + (self.freqs[None] @ combined[:, :2, 2:])[..., 0]  # (n, channels)
        band = self.band
        amplitudes = 1 - (freqs.norm(dim=2) - band.cutoff) / (band.rate / 2 - band.cutoff)
        # Pixel centres of the whole signal, in units of the image's width.
        at = (torch.arange(band.size, dtype=t.dtype, device=t.device) + 0.5 - band.size / 2) / band.rate
        angle = freqs[..., 0, None, None] * at + freqs[..., 1, None, None] * at[:, None]
        x = torch.sin(2 * math.pi * (angle + phases[..., None, None]))
        x = modulate(x, amplitudes.clamp(0, 1))
        weight = self.weight / math.sqrt(len(self.weight))
        return F.conv2d(x, weight[:, :, None, None])


class SynthesisLayer(nn.Module):
    """A modulated convolution and a leaky ReLU at a higher sampling rate; ToRGB is the convolution alone."""

    up_filter: Tensor | None
    down_filter: Tensor | None
    magnitude_ema: Tensor

    def __init__(self, config: StyleGAN3Config, before: Band, after: Band, *, critical: bool, is_torgb: bool):
        super().__init__()
        self.is_torgb = is_torgb
        self.size = after.size
        self.clamp = config.clamp
        kernel = 1 if is_torgb else config.kernel
        rate = max(before.rate, after.rate) * (1 if is_torgb else config.upsampling)
        self.up, self.down = rate // before.rate, rate // after.rate
        factors = (self.up, self.down)
        taps = [config.filter_size * factor if factor > 1 and not is_torgb else 1 for factor in factors]
        total = (after.size - 1) * self.down + 1 + sum(taps) - 2 - (before.size + kernel - 1) * self.up
        low = (total + self.up) // 2
        self.pad = (low, total - low)
        self.affine = EqualLinear(config.w_dim, before.channels, bias_init=1.0)
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
        if self.is_torgb:
            style = style / math.sqrt(weight[0].numel())
        else:
            # With unit variance before demodulation, ε stays negligible.
            weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
            style = style * style.square().mean(1, keepdim=True).rsqrt()
        gain = self.magnitude_ema.rsqrt()
        x = F.conv2d(modulate(x, style * gain), weight, padding=weight.shape[2] - 1)
        if not self.is_torgb:
            x = modulate(x, demodulation(weight, style))
        x = upsample(x + self.bias[:, None, None], self.up_filter, self.up, self.pad)
        if not self.is_torgb:
            x = F.leaky_relu(x, SLOPE) * GAIN
        if self.clamp is not None:
            x = x.clamp(-self.clamp, self.clamp)
        return downsample(x, self.down_filter, self.down)


class SynthesisNetwork(nn.Module):
    """Maps styles to images."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        signals = bands(config)
        self.input = FourierInput(config.w_dim, signals[0])
        self.names = []
        for index, after in enumerate(signals):
            before = signals[max(index - 1, 0)]
            critical = index >= config.count - config.critical
            layer = SynthesisLayer(config, before, after, critical=critical, is_torgb=index == config.count)
            self.names.append(f"L{index}_{after.size}_{after.channels}")
            self.add_module(self.names[-1], layer)

    def forward(self, ws: Tensor, transform: Tensor | None = None) -> Tensor:
        """Map styles (n, layers, w_dim) to images (n, c, resolution, resolution), roughly in [-1, 1].

        The first style is that of the Fourier features; for their transform see :class:`FourierInput`.
        """
        x = self.input(ws[:, 0], transform)
        for index, name in enumerate(self.names, start=1):
            x = self.get_submodule(name)(x, ws[:, index])
        scaled: Tensor = x * self.config.output_scale
        return scaled


class StyleGAN3(nn.Module):
    """The whole generator: mapping and synthesis networks."""

    def __init__(self, config: StyleGAN3Config) -> None:
        super().__init__()
        self.config = config
        self.mapping = MappingNetwork(config.z_dim, config.classes, config.w_dim, config.mapping_layers)
        self.synthesis = SynthesisNetwork(config)
