"""The U-Net of denoising diffusion models.

Ho, Jain and Abbeel 2020, "Denoising Diffusion Probabilistic Models" (arXiv:2006.11239), section 4 and
appendix B: a U-Net of residual blocks with group normalisation and SiLU, self-attention at some
resolutions, and the timestep entering every residual block through a sinusoidal embedding.

Parameters are named as in published checkpoints of diffusers' ``UNet2DModel`` (google/ddpm-*, sd-class-*),
so that their tensors load without renaming. :class:`~zoo_ddpm.unet_config.UNetConfig` holds the options of
their config.json.
Read from the smallest part to the whole. In shape comments n is the batch, c channels, h × w the image,
e the width of the time embedding.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_ddpm.unet_config import UNetConfig


def sinusoidal_embedding(t: Tensor, config: UNetConfig) -> Tensor:
    """Embed timesteps t (n,) as sines and cosines at geometrically spaced frequencies: (n, c) float32.

    Vaswani et al. 2017 (arXiv:1706.03762), section 3.5. Angles are taken in float32 whatever the network's
    dtype: near t = 1000 a bfloat16 angle would be off by whole radians.
    """
    half = config.block_out_channels[0] // 2
    i = torch.arange(half, dtype=torch.float32, device=t.device)
    frequencies = torch.exp(-math.log(10000) * i / (half - config.freq_shift))
    angles = t.float()[:, None] * frequencies  # (n, c/2)
    waves = [angles.cos(), angles.sin()] if config.flip_sin_to_cos else [angles.sin(), angles.cos()]
    return torch.cat(waves, dim=1)


class TimeMLP(nn.Module):
    """Two linear layers that turn the sinusoidal embedding into the time embedding."""

    def __init__(self, c: int, e: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(c, e)
        self.linear_2 = nn.Linear(e, e)

    def forward(self, waves: Tensor) -> Tensor:
        """Map (n, c) to (n, e)."""
        emb: Tensor = self.linear_2(F.silu(self.linear_1(waves)))
        return emb


class ResnetBlock(nn.Module):
    """Twice norm, SiLU, 3×3 convolution, beside a shortcut; the time embedding is added half-way."""

    def __init__(self, c_in: int, c_out: int, config: UNetConfig, scale: float = 1.0) -> None:
        super().__init__()
        self.norm1 = nn.GroupNorm(config.norm_num_groups, c_in, config.norm_eps)
        self.conv1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.time_emb_proj = nn.Linear(4 * config.block_out_channels[0], c_out)
        self.norm2 = nn.GroupNorm(config.norm_num_groups, c_out, config.norm_eps)
        self.conv2 = nn.Conv2d(c_out, c_out, 3, padding=1)
        self.conv_shortcut = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else None
        self.dropout = config.dropout
        self.scale = scale

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map x (n, c_in, h, w) and emb (n or 1, e), the SiLU of the time embedding, to (n, c_out, h, w)."""
        h: Tensor = self.conv1(F.silu(self.norm1(x)))  # (n, c_out, h, w)
        h = h + self.time_emb_proj(emb)[:, :, None, None]
        h = F.dropout(F.silu(self.norm2(h)), self.dropout, self.training)
        h = self.conv2(h)
        shortcut = x if self.conv_shortcut is None else self.conv_shortcut(x)
        return (shortcut + h) / self.scale


class Attention(nn.Module):
    """Self-attention over the h·w positions of the image, beside a shortcut."""

    def __init__(self, c: int, config: UNetConfig, scale: float = 1.0) -> None:
        super().__init__()
        self.group_norm = nn.GroupNorm(config.norm_num_groups, c, config.norm_eps)
        self.to_q = nn.Linear(c, c)
        self.to_k = nn.Linear(c, c)
        self.to_v = nn.Linear(c, c)
        self.to_out = nn.ModuleList([nn.Linear(c, c)])
        self.head_dim = config.attention_head_dim or c
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        tokens = self.group_norm(x).flatten(2).transpose(1, 2)  # (n, h·w, c)
        q, k, v = (
            project(tokens).unflatten(2, (-1, self.head_dim)).transpose(1, 2)  # (n, heads, h·w, head_dim)
            for project in (self.to_q, self.to_k, self.to_v)
        )
        h = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)  # (n, h·w, c)
        out: Tensor = self.to_out[0](h).transpose(1, 2).unflatten(2, x.shape[2:])  # (n, c, h, w)
        return (x + out) / self.scale


class Downsample(nn.Module):
    """Halve height and width by a stride-2 convolution."""

    def __init__(self, c: int, padding: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, stride=2, padding=padding)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, h/2, w/2)."""
        if self.conv.padding == (0, 0):
            x = F.pad(x, (0, 1, 0, 1))
        half: Tensor = self.conv(x)
        return half


class Upsample(nn.Module):
    """Double height and width by repeating pixels, then a convolution."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(c, c, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, c, h, w) to (n, c, 2h, 2w)."""
        double: Tensor = self.conv(F.interpolate(x, scale_factor=2.0, mode="nearest"))
        return double


class DownBlock(nn.Module):
    """One level on the way down: residual blocks, each with attention if the level has it, then half size."""

    def __init__(self, c_in: int, c_out: int, config: UNetConfig, attention: bool, last: bool) -> None:
        super().__init__()
        widths = [c_in] + [c_out] * (config.layers_per_block - 1)
        self.resnets = nn.ModuleList(ResnetBlock(c, c_out, config) for c in widths)
        self.attentions = nn.ModuleList(Attention(c_out, config) for _ in widths if attention)
        self.downsamplers = nn.ModuleList([] if last else [Downsample(c_out, config.downsample_padding)])

    def forward(self, x: Tensor, emb: Tensor) -> list[Tensor]:
        """Return every feature map made on the way, for the way up; the last one goes on down."""
        skips = []
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, emb)
            if self.attentions:
                x = self.attentions[i](x)
            skips.append(x)
        for downsample in self.downsamplers:
            skips.append(downsample(x))
        return skips


class MidBlock(nn.Module):
    """The lowest resolution: attention between two residual blocks."""

    def __init__(self, c: int, config: UNetConfig) -> None:
        super().__init__()
        scale = config.mid_block_scale_factor
        self.resnets = nn.ModuleList(ResnetBlock(c, c, config, scale) for _ in range(2))
        self.attentions = nn.ModuleList([Attention(c, config, scale)] if config.add_attention else [])

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        x = self.resnets[0](x, emb)
        for attention in self.attentions:
            x = attention(x)
        out: Tensor = self.resnets[1](x, emb)
        return out


class UpBlock(nn.Module):
    """One level on the way up: each residual block also takes a feature map from the way down."""

    def __init__(
        self, c_in: int, c_skips: list[int], c_out: int, config: UNetConfig, attention: bool, last: bool
    ) -> None:
        super().__init__()
        widths = [c_in] + [c_out] * (len(c_skips) - 1)
        self.resnets = nn.ModuleList(
            ResnetBlock(c + c_skip, c_out, config) for c, c_skip in zip(widths, c_skips, strict=True)
        )
        self.attentions = nn.ModuleList(Attention(c_out, config) for _ in widths if attention)
        self.upsamplers = nn.ModuleList([] if last else [Upsample(c_out)])

    def forward(self, x: Tensor, skips: list[Tensor], emb: Tensor) -> Tensor:
        """Consume feature maps from the end of ``skips``."""
        for i, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], dim=1), emb)
            if self.attentions:
                x = self.attentions[i](x)
        for upsample in self.upsamplers:
            x = upsample(x)
        return x


class UNet(nn.Module):
    """The network: down to the lowest resolution, through the middle, and up again along the feature maps."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.block_out_channels
        e = 4 * channels[0]
        self.time_embedding = TimeMLP(channels[0], e)
        self.class_embedding = nn.Embedding(config.num_class_embeds, e) if config.num_class_embeds else None

        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        c = channels[0]
        c_skips = [c]
        for i, (c_out, kind) in enumerate(zip(channels, config.down_block_types, strict=True)):
            last = i == len(channels) - 1
            self.down_blocks.append(
                DownBlock(c, c_out, config, attention=kind == "AttnDownBlock2D", last=last)
            )
            c_skips += [c_out] * (config.layers_per_block + (not last))
            c = c_out
        self.mid_block = MidBlock(c, config)
        self.up_blocks = nn.ModuleList()
        for c_out, up_kind in zip(reversed(channels), config.up_block_types, strict=True):
            taken = [c_skips.pop() for _ in range(config.layers_per_block + 1)]
            attention, last = up_kind == "AttnUpBlock2D", not c_skips
            self.up_blocks.append(UpBlock(c, taken, c_out, config, attention, last))
            c = c_out
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, c, config.norm_eps)
        self.conv_out = nn.Conv2d(c, config.out_channels, 3, padding=1)

    def embed(self, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Embed timesteps t (n or 1,) and, for a class-conditional network, labels (n,): (n or 1, e).

        Raises:
            ValueError: if labels are given to an unconditional network, or not given to a conditional one.
        """
        if (labels is None) != (self.class_embedding is None):
            raise ValueError("labels are for class-conditional networks, which need them")
        emb: Tensor = self.time_embedding(
            sinusoidal_embedding(t, self.config).to(self.time_embedding.linear_1.weight.dtype)
        )
        if self.class_embedding is not None:
            emb = emb + self.class_embedding(labels)
        return emb

    def forward(self, x: Tensor, t: Tensor | float, labels: Tensor | None = None) -> Tensor:
        """Predict from noisy images.

        Args:
            x: Images x_t, (n, in_channels, h, w); h and w multiples of 2 to the number of levels less one.
            t: Timesteps, (n,) or one for all.
            labels: Class labels, (n,) int64, if the network is class-conditional.

        Returns:
            The prediction, (n, out_channels, h, w).
        """
        t = torch.as_tensor(t, device=x.device).reshape(-1)
        emb = F.silu(self.embed(t, labels))  # (n, e), or (1, e) for one t and no labels
        if self.config.center_input_sample:
            x = 2 * x - 1
        x = self.conv_in(x)
        skips = [x]
        for down in self.down_blocks:
            skips += down(skips[-1], emb)
        x = self.mid_block(skips[-1], emb)
        for up in self.up_blocks:
            x = up(x, skips, emb)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return out
