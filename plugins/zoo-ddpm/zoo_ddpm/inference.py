"""The U-Net with faster layers for a CPU: the same predictions in less time.

Nearly all the time of a step is spent in convolutions; the layers here use the faster ones of
``zoo_core.kernels``. The time embedding is added as the bias of a convolution, residual sums are part of it,
attention with one head needs half as many linear layers, and images stay channels-last throughout.

:func:`optimize_for_inference` puts these layers into a :class:`~zoo_ddpm.unet.UNet`, whose own ``forward``
then runs them. Read ``unet_blocks.py`` and ``unet.py`` first: it says what is computed, this file says how.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core.kernels import PackedUpsampleConv, Size, has_packed_conv, pack_3x3, pack_conv, pack_linear
from zoo_ddpm.ncsnpp import SkipDownBlock, SkipUpBlock, filter_down
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_blocks import Attention, Downsample, ResnetBlock, Upsample, average, repeat

Denoiser = Callable[[Tensor, Tensor | float, Tensor | None], Tensor]
"""(x, t, labels) to the network's prediction, as ``UNet.forward``; the prediction has the dtype of x."""

GROUP_NORM_PIXELS = 1024
GROUP_NORM_CHANNELS = 16
"""Below so many pixels and channels per group, torch's channels-last group norm is slow in bfloat16."""

ATTENTION_PIXELS = 1024
"""Up to so many pixels, all attention scores are kept at once, which is twice as fast in bfloat16."""


def optimize_for_inference(
    unet: UNet, *, device: torch.device, dtype: torch.dtype = torch.float32
) -> Denoiser:
    """Return a function that predicts as ``unet`` does, on ``device`` and in ``dtype``.

    It replaces the network's layers one by one, so that no second copy of the weights exists: do not use
    ``unet`` afterwards. Give t as one number if all images share it, which is faster. In float32, predictions
    are within 1e-5 of ``UNet.forward``'s, relative to their largest value.

    Raises:
        WeightsError: if the network's config does not say the size of its images.
        ValueError: from the function, for images of another size.
    """
    image_size = unet.config.image_size
    unet = unet.eval().requires_grad_(False).to(device)
    if has_packed_conv(device, dtype):
        _replace_layers(unet.float(), image_size, dtype)
    else:
        unet = unet.to(dtype=dtype)
        for parameter in unet.parameters():
            if parameter.dim() == 4:
                parameter.data = parameter.contiguous(memory_format=torch.channels_last)

    def denoise(x: Tensor, t: Tensor | float, labels: Tensor | None = None) -> Tensor:
        if tuple(x.shape[2:]) != image_size:
            raise ValueError(f"the network was prepared for images of {image_size}, not {tuple(x.shape[2:])}")
        out: Tensor = unet(x.to(dtype).contiguous(memory_format=torch.channels_last), t, labels)
        return out.to(x.dtype).contiguous()

    return denoise


def _replace_layers(unet: UNet, size: Size, dtype: torch.dtype) -> None:
    """Replace every layer that handles images; what makes the time embedding is small and stays float32."""
    unet.set_submodule("conv_in", pack_conv(unet.conv_in, size, dtype))
    for down, up in zip(unet.down_blocks, reversed(unet.up_blocks), strict=True):
        _replace_block(up, size, dtype)
        half = (size[0] // 2, size[1] // 2)
        # NCSN++ adds the halved image to what its level hands down, and the level above draws at full size.
        _replace_block(down, size, dtype, halved=half)
        if down is not unet.down_blocks[-1]:
            size = half
    _replace_block(unet.mid_block, size, dtype)
    unet.set_submodule("conv_out", pack_conv(unet.conv_out, unet.config.image_size, dtype))
    # One tensor still mapped from a file keeps all of the file in memory.
    for parameter in unet.parameters():
        parameter.data = parameter.data.clone()


def _replace_block(block: nn.Module, size: Size, dtype: torch.dtype, halved: Size | None = None) -> None:
    replacements: dict[type[nn.Module], Callable[..., nn.Module]] = {
        ResnetBlock: PackedResnetBlock,
        Attention: _pack_attention,
        Downsample: PackedDownsample,
        Upsample: PackedUpsample,
    }
    for path, layer in list(block.named_modules()):
        if replacement := replacements.get(type(layer)):
            block.set_submodule(path, replacement(layer, size, dtype))
    if isinstance(block, (SkipDownBlock, SkipUpBlock)) and block.skip_conv is not None:
        block.set_submodule("skip_conv", pack_conv(block.skip_conv, halved or size, dtype))


def _group_norm(
    norm: nn.GroupNorm, x: Tensor, weight: Tensor | None = None, bias: Tensor | None = None
) -> Tensor:
    """Normalise (n, c, h, w), in float32 where that is faster, with another gain and shift if given."""
    _, c, h, w = x.shape
    if h * w < GROUP_NORM_PIXELS and c // norm.num_groups < GROUP_NORM_CHANNELS:
        x = x.float()
    weight, bias = (norm.weight, norm.bias) if weight is None else (weight, bias)
    return F.group_norm(x, norm.num_groups, weight, bias, norm.eps)


def _both(layer: nn.Conv2d | nn.Linear) -> tuple[Tensor, Tensor]:
    return layer.weight, layer.get_parameter("bias")


class PackedResnetBlock(nn.Module):
    """:class:`~zoo_ddpm.unet_blocks.ResnetBlock` on packed convolutions."""

    def __init__(self, block: ResnetBlock, size: Size, dtype: torch.dtype) -> None:
        super().__init__()
        self.norm1, self.norm2 = block.norm1, block.norm2
        self.time_weight, time_bias = _both(block.time_emb_proj)
        self.scale_shift, self.scale = block.scale_shift, block.scale
        self.resample = block.resample
        h, w = size
        if block.resample in (average, filter_down):
            size = (h // 2, w // 2)
        elif block.resample is not None:
            size = (2 * h, 2 * w)
        # Repeated pixels and a convolution are one transposed convolution.
        self.repeats = block.resample is repeat and block.scale_shift
        self.conv1: nn.Module
        if self.repeats:
            self.conv1 = PackedUpsampleConv(block.conv1, (h, w), dtype)
        else:
            self.conv1 = pack_3x3(*_both(block.conv1), size, dtype)
        # A time shift comes right after the first convolution: one bias does for both.
        self.time_bias = time_bias if self.scale_shift else time_bias + block.conv1.get_parameter("bias")
        self.conv2 = pack_3x3(*_both(block.conv2), size, dtype)
        self.conv_shortcut = block.conv_shortcut and pack_conv(block.conv_shortcut, size, dtype)

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map x (n, c_in, h, w) and emb (n or 1, e) to (n, c_out, h', w')."""
        time = F.linear(emb, self.time_weight, self.time_bias)  # (n or 1, c_out or 2 c_out)
        h = F.silu(_group_norm(self.norm1, x), inplace=True).to(x.dtype)
        if self.resample is not None:
            x = self.resample(x)
            h = h if self.repeats else self.resample(h)
        h = self._with_scale_shift(h, time) if self.scale_shift else self._with_shift(h, time)
        h = F.silu(h, inplace=True).to(x.dtype)
        out: Tensor = self.conv2(h, None, x if self.conv_shortcut is None else self.conv_shortcut(x))
        return out if self.scale == 1 else out.div_(self.scale)

    def _with_shift(self, h: Tensor, shift: Tensor) -> Tensor:
        shared = len(shift) == 1
        h = self.conv1(h, shift[0] if shared else torch.zeros_like(shift[0]))
        if not shared:
            h += shift[:, :, None, None]
        return _group_norm(self.norm2, h)

    def _with_scale_shift(self, h: Tensor, time: Tensor) -> Tensor:
        gain, shift = (1 + time[:, : time.shape[1] // 2]), time[:, time.shape[1] // 2 :]
        h, norm = self.conv1(h), self.norm2
        if len(time) == 1:  # the norm's own gain and shift do
            return _group_norm(norm, h, gain[0] * norm.weight, gain[0] * norm.bias + shift[0])
        normed = _group_norm(norm, h)
        return torch.addcmul(shift[:, :, None, None].to(normed), normed, gain[:, :, None, None].to(normed))


class PackedAttention(nn.Module):
    """:class:`~zoo_ddpm.unet_blocks.Attention` of several heads, its linear layers packed, three as one."""

    def __init__(self, attention: Attention, size: Size, dtype: torch.dtype) -> None:
        super().__init__()
        self.group_norm = attention.group_norm
        qkv = (attention.to_q, attention.to_k, attention.to_v)
        weight, bias = (
            torch.cat([layer.get_parameter(name) for layer in qkv]) for name in ("weight", "bias")
        )
        self.to_qkv = pack_linear(weight, bias, size, dtype)
        out = attention.to_out[0]
        self.to_out = pack_linear(out.get_parameter("weight"), out.get_parameter("bias"), size, dtype)
        self.head_dim = attention.head_dim
        self.scale = attention.scale

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        n, c, height, width = x.shape
        qkv = self.to_qkv(_group_norm(self.group_norm, x).to(x.dtype))  # (n, 3c, h, w)
        heads = _tokens(qkv).view(n, height * width, 3, -1, self.head_dim)
        q, k, v = heads.permute(2, 0, 3, 1, 4)  # (n, heads, h·w, head_dim)
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)  # (n, h·w, heads, head_dim)
        h = h.reshape(n, height, width, c).permute(0, 3, 1, 2)
        out: Tensor = self.to_out(h, None, x)
        return out if self.scale == 1 else out.div_(self.scale)


class PackedSingleHeadAttention(nn.Module):
    """:class:`~zoo_ddpm.unet_blocks.Attention` of one head, with two linear layers in place of four.

    With one head, nothing stands between the layers of queries and keys but a scalar product, and nothing
    between those of values and output but a weighted mean: each pair is one matrix. What the keys' bias adds
    to all scores of a query alike, the softmax cancels; a mean leaves the biases of values and output as
    they are.
    """

    def __init__(self, attention: Attention, size: Size, dtype: torch.dtype) -> None:
        super().__init__()
        self.group_norm = attention.group_norm
        (wq, bq), (wk, _), (wv, bv), (wo, bo) = (
            (layer.get_parameter("weight").double(), layer.get_parameter("bias").double())
            for layer in (attention.to_q, attention.to_k, attention.to_v, attention.to_out[0])
        )
        wk = wk / math.sqrt(attention.head_dim)
        weight = torch.cat([wk.T @ wq, wo @ wv])
        self.to_qv = pack_linear(weight, torch.cat([wk.T @ bq, wo @ bv + bo]), size, dtype)
        self.scale = attention.scale

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        normed = _group_norm(self.group_norm, x).to(x.dtype)
        k = _tokens(normed)  # (n, h·w, c)
        q, v = _tokens(self.to_qv(normed)).chunk(2, dim=2)
        if x.dtype == torch.bfloat16 and k.shape[1] <= ATTENTION_PIXELS:
            h = torch.softmax(q @ k.mT, dim=2) @ v  # (n, h·w, c)
        else:
            h = F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None], scale=1)[:, 0]
        out = h.mT.reshape(x.shape) + x
        return out if self.scale == 1 else out.div_(self.scale)


def _tokens(x: Tensor) -> Tensor:
    """View a channels-last image (n, c, h, w) as (n, h·w, c)."""
    return x.permute(0, 2, 3, 1).flatten(1, 2)


def _pack_attention(attention: Attention, size: Size, dtype: torch.dtype) -> nn.Module:
    single = attention.head_dim == attention.group_norm.num_channels
    return (PackedSingleHeadAttention if single else PackedAttention)(attention, size, dtype)


class PackedDownsample(nn.Module):
    """:class:`~zoo_ddpm.unet_blocks.Downsample` on a packed convolution."""

    def __init__(self, downsample: Downsample, size: Size, dtype: torch.dtype) -> None:
        super().__init__()
        self.pads_at_the_end = downsample.conv.padding == (0, 0)
        self.conv = pack_conv(downsample.conv, size, dtype)

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        """Map (n, c, h, w) to (n, c, h/2, w/2)."""
        half: Tensor = self.conv(F.pad(x, (0, 1, 0, 1)) if self.pads_at_the_end else x)
        return half


class PackedUpsample(nn.Module):
    """:class:`~zoo_ddpm.unet_blocks.Upsample` as one transposed convolution."""

    def __init__(self, upsample: Upsample, size: Size, dtype: torch.dtype) -> None:
        super().__init__()
        self.conv = PackedUpsampleConv(upsample.conv, size, dtype)

    def forward(self, x: Tensor, emb: Tensor | None = None) -> Tensor:
        """Map (n, c, h, w) to (n, c, 2h, 2w)."""
        double: Tensor = self.conv(x)
        return double
