"""StyleGAN2 and StyleGAN3 computed step by step, as the papers describe them, to time zoo-stylegan beside.

Upsampling puts zeros between the values and filters; a modulated convolution scales and normalises its
weights for each sample, and runs the batch as groups of one convolution. The weights are the network's own.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor
from zoo_stylegan import stylegan2, stylegan3


def modulated(x: Tensor, weight: Tensor, style: Tensor, padding: int, demodulate: bool = True) -> Tensor:
    """Convolve (n, c, h, w) by (o, c, k, k) scaled by style (n, c): arXiv:1912.04958, section 2.2."""
    n, c, h, w = x.shape
    weights = weight[None] * style[:, None, :, None, None]  # (n, o, c, k, k)
    if demodulate:
        weights = weights * (weights.square().sum((2, 3, 4), keepdim=True) + 1e-8).rsqrt()
    x = F.conv2d(x.reshape(1, n * c, h, w), weights.flatten(0, 1), padding=padding, groups=n)
    return x.view(n, -1, *x.shape[2:])


def zeros_between(x: Tensor, factor: int) -> Tensor:
    """Put factor − 1 zeros after each value, along both axes."""
    n, c, h, w = x.shape
    x = F.pad(x[..., None, :, None], (0, factor - 1, 0, 0, 0, factor - 1))
    return x.reshape(n, c, h * factor, w * factor)


def filtered(x: Tensor, kernel: Tensor) -> Tensor:
    """Filter each channel by (taps,) along both axes, or by (taps, taps)."""
    c = x.shape[1]
    if kernel.ndim == 2:
        return F.conv2d(x, kernel.expand(c, 1, -1, -1), groups=c)
    x = F.conv2d(x, kernel[None, :].expand(c, 1, 1, -1), groups=c)
    return F.conv2d(x, kernel[:, None].expand(c, 1, -1, 1), groups=c)


def upsampled(x: Tensor, margin: int = 0) -> Tensor:
    """StyleGAN2's, to twice the sides and a margin on each."""
    before, after = 2 + margin, 1 + margin
    return filtered(F.pad(zeros_between(x, 2), (before, after, before, after)), stylegan2.kernel(x) * 4)


def styled(layer: stylegan2.SynthesisLayer, x: Tensor, w: Tensor, noise: Tensor | None) -> Tensor:
    """A layer of StyleGAN2."""
    if layer.up:
        x = upsampled(x, margin=1)
    # The checkpoints store the kernels of these layers turned by half a turn.
    weight = layer.weight.flip((2, 3)) if layer.up else layer.weight
    x = modulated(x, weight, layer.affine(w), padding=0 if layer.up else 1)
    if noise is not None:
        x = x + noise * layer.noise_strength
    x = F.leaky_relu(x + layer.bias[:, None, None], 0.2) * layer.gain
    return x if layer.clamp is None else x.clamp(-layer.clamp, layer.clamp)


def synthesis2(network: stylegan2.Synthesis, ws: Tensor) -> Tensor:
    """StyleGAN2's images, skip architecture, constant noise."""
    noises = iter(network.constant_noise())
    x = image = None
    at = 0
    for block in network.blocks:
        if x is None:
            x = block.const.expand(len(ws), -1, -1, -1)
        for layer in block.convolutions:
            x = styled(layer, x, ws[:, at], next(noises))
            at += 1
        torgb = block.torgb
        assert torgb is not None
        style = torgb.affine(ws[:, at]) / math.sqrt(torgb.weight.shape[1])
        colours = modulated(x, torgb.weight, style, 0, demodulate=False) + torgb.bias[:, None, None]
        if torgb.clamp is not None:
            colours = colours.clamp(-torgb.clamp, torgb.clamp)
        image = colours if image is None else upsampled(image) + colours
    assert image is not None
    return image


def synthesis3(network: stylegan3.Synthesis, ws: Tensor) -> Tensor:
    """StyleGAN3's images."""
    x: Tensor = network.input(ws[:, 0])
    for index, name in enumerate(network.names, start=1):
        layer = network.get_submodule(name)
        assert isinstance(layer, stylegan3.SynthesisLayer)
        x = filtered_nonlinearity(layer, x, ws[:, index])
    return x * network.config.output_scale


def filtered_nonlinearity(layer: stylegan3.SynthesisLayer, x: Tensor, w: Tensor) -> Tensor:
    """A layer of StyleGAN3: arXiv:2106.12423, figure 4b."""
    style, weight = layer.affine(w), layer.weight
    if layer.colours:
        style = style / math.sqrt(weight[0].numel())
    else:
        weight = weight * weight.square().mean((1, 2, 3), keepdim=True).rsqrt()
        style = style * style.square().mean(1, keepdim=True).rsqrt()
    x = x * layer.magnitude_ema.rsqrt()
    x = modulated(x, weight, style, weight.shape[2] - 1, demodulate=not layer.colours)
    x = x + layer.bias[:, None, None]
    x = F.pad(zeros_between(x, layer.up), (*layer.pad, *layer.pad))
    if layer.up_filter is not None:
        x = filtered(x, layer.up_filter * layer.up)
    if not layer.colours:
        x = F.leaky_relu(x, 0.2) * math.sqrt(2)
    if layer.clamp is not None:
        x = x.clamp(-layer.clamp, layer.clamp)
    if layer.down_filter is not None:
        x = filtered(x, layer.down_filter)
    return x[..., :: layer.down, :: layer.down]


@torch.inference_mode()
def synthesis(network: stylegan2.Synthesis | stylegan3.Synthesis, ws: Tensor) -> Tensor:
    """Turn styles (n, layers, w_dim) into images."""
    return synthesis2(network, ws) if isinstance(network, stylegan2.Synthesis) else synthesis3(network, ws)
