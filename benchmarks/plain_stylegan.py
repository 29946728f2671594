"""Direct implementations of StyleGAN2 and StyleGAN3 as the papers describe them: the benchmark's baseline.

Upsampling inserts zeros and filters. A modulated convolution modulates and demodulates its weights for each
sample, and computes the batch as groups of one convolution. The weights are those of the network.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from zoo_stylegan.networks import stylegan2, stylegan3


def modulated_conv(x: Tensor, weight: Tensor, style: Tensor, padding: int, demodulate: bool = True) -> Tensor:
    """Convolve (n, c, h, w) by (o, c, k, k), modulated by style (n, c): arXiv:1912.04958, section 2.2."""
    n, c, h, w = x.shape
    weights = weight[None] * style[:, None, :, None, None]  # (n, o, c, k, k)
    if demodulate:
        weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = F.conv2d(x.reshape(1, n * c, h, w), weights.flatten(0, 1), padding=padding, groups=n)
    return x.view(n, -1, *x.shape[2:])


def insert_zeros(x: Tensor, factor: int) -> Tensor:
    """Insert factor − 1 zeros after each value, along both axes."""
    n, c, h, w = x.shape
    x = F.pad(x[..., None, :, None], (0, factor - 1, 0, 0, 0, factor - 1))
    return x.reshape(n, c, h * factor, w * factor)


def fir_filter(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel by (taps,) along both axes, or by (taps, taps)."""
    c = x.shape[1]
    if kernel.ndim == 2:
        return F.conv2d(x, kernel.expand(c, 1, -1, -1), groups=c)
    x = F.conv2d(x, kernel[None, :].expand(c, 1, 1, -1), groups=c)
    return F.conv2d(x, kernel[:, None].expand(c, 1, -1, 1), groups=c)


def upsample(x: Tensor, margin: int = 0) -> Tensor:
    """Double the sides as StyleGAN2 does, with a margin on each side."""
    before, after = 2 + margin, 1 + margin
    return fir_filter(F.pad(insert_zeros(x, 2), (before, after, before, after)), stylegan2.fir_kernel(x) * 4)


def synthesis_layer2(layer: stylegan2.SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
    """Compute a layer of StyleGAN2."""
    if layer.up:
        x = upsample(x, margin=1)
    # Checkpoints store the kernels of upsampling layers rotated by 180°.
    weight = layer.weight.flip((2, 3)) if layer.up else layer.weight
    x = modulated_conv(x, weight, layer.affine(w), padding=0 if layer.up else 1)
    if noise is not None:
        x = x + noise * layer.noise_strength
    x = F.leaky_relu(x + layer.bias[:, None, None], 0.2) * layer.gain
    return x if layer.clamp is None else x.clamp(-layer.clamp, layer.clamp)


def synthesis2(network: stylegan2.SynthesisNetwork, ws: Tensor) -> Tensor:
    """Compute the images of a StyleGAN2 with skip architecture and constant noise."""
    noises = iter(network.constant_noise())
    x = image = None
    index = 0
    for block in network.blocks:
        if x is None:
            x = block.const.expand(len(ws), -1, -1, -1)
        for layer in block.convolutions:
            x = synthesis_layer2(layer, x, ws[:, index], next(noises))
            index += 1
        torgb = block.torgb
        assert torgb is not None
        style = torgb.affine(ws[:, index]) / math.sqrt(torgb.weight.shape[1])
        rgb = modulated_conv(x, torgb.weight, style, 0, demodulate=False) + torgb.bias[:, None, None]
        if torgb.clamp is not None:
            rgb = rgb.clamp(-torgb.clamp, torgb.clamp)
        image = rgb if image is None else upsample(image) + rgb
    assert image is not None
    return image


def synthesis3(network: stylegan3.SynthesisNetwork, ws: Tensor) -> Tensor:
    """Compute the images of a StyleGAN3."""
    x: Tensor = network.input(ws[:, 0])
    for index, name in enumerate(network.names, start=1):
        layer = network.get_submodule(name)
        assert isinstance(layer, stylegan3.SynthesisLayer)
        x = synthesis_layer3(layer, x, ws[:, index])
    return x * network.config.output_scale


def synthesis_layer3(layer: stylegan3.SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    """Compute a layer of StyleGAN3: arXiv:2106.12423, figure 4b."""
    style, weight = layer.affine(w), layer.weight
    if layer.is_torgb:
        style = style / math.sqrt(weight[0].numel())
    else:
        weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
        style = style * style.square().mean(1, keepdim=True).rsqrt()
    x = x * layer.magnitude_ema.rsqrt()
    x = modulated_conv(x, weight, style, weight.shape[2] - 1, demodulate=not layer.is_torgb)
    x = x + layer.bias[:, None, None]
    x = F.pad(insert_zeros(x, layer.up), (*layer.pad, *layer.pad))
    if layer.up_filter is not None:
        x = fir_filter(x, layer.up_filter * layer.up)
    if not layer.is_torgb:
        x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    if layer.clamp is not None:
        x = x.clamp(-layer.clamp, layer.clamp)
    if layer.down_filter is not None:
        x = fir_filter(x, layer.down_filter)
    return x[..., :: layer.down, :: layer.down]


@torch.inference_mode()
def synthesis(network: stylegan2.SynthesisNetwork | stylegan3.SynthesisNetwork, ws: Tensor) -> Tensor:
    """Map styles (n, layers, w_dim) to images."""
    if isinstance(network, stylegan2.SynthesisNetwork):
        return synthesis2(network, ws)
    return synthesis3(network, ws)
