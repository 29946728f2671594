"""What NCSN++ has beside the U-Net's own parts: the image itself goes down and up beside the feature maps.

Song et al. 2021, "Score-based generative modeling through stochastic differential equations"
(arXiv:2011.13456), appendix H: the image is filtered and halved at each level and added to the feature maps;
on the way up, each level adds to an image that becomes part of the output. Names are those of diffusers'
``SkipDownBlock2D`` and its kind.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_ddpm.unet_blocks import Attention, ResnetBlock
from zoo_ddpm.unet_config import UNetConfig, groups_by_width

SCALE = math.sqrt(2.0)
"""Every residual sum is divided by it."""

ATTENTION_GROUPS = 32

FOURIER_SCALE = 16.0


class FourierProjection(nn.Module):
    """The sines and cosines of log σ at random frequencies, which are part of the checkpoint."""

    def __init__(self, c: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(c) * FOURIER_SCALE, requires_grad=False)

    def forward(self, sigma: Tensor) -> Tensor:
        """Map noise levels (n,) to (n, 2 c), at least in float32."""
        weight = self.weight.to(torch.promote_types(self.weight.dtype, torch.float32))
        angles = 2 * math.pi * torch.log(sigma.to(weight.dtype))[:, None] * weight
        return torch.cat([angles.sin(), angles.cos()], dim=1)


def _kernel(x: Tensor) -> Tensor:
    """Return the binomial filter (1, 3, 3, 1) in both directions, once for each channel of x."""
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0], dtype=x.dtype, device=x.device) / 8
    return torch.outer(taps, taps).expand(x.shape[1], 1, 4, 4)


def filter_down(x: Tensor) -> Tensor:
    """Filter (n, c, h, w) and halve it."""
    return F.conv2d(x, _kernel(x), stride=2, padding=1, groups=x.shape[1])


def filter_up(x: Tensor) -> Tensor:
    """Double (n, c, h, w) and filter it."""
    return F.conv_transpose2d(x, 4 * _kernel(x), stride=2, padding=1, groups=x.shape[1])


class SkipDownBlock(nn.Module):
    """One level on the way down."""

    def __init__(self, c_in: int, c_out: int, config: UNetConfig, kind: str, last: bool) -> None:
        super().__init__()
        groups = groups_by_width(c_out)
        widths = [c_in] + [c_out] * (config.layers_per_block - 1)
        self.resnets = nn.ModuleList(
            ResnetBlock(c, c_out, config, SCALE, groups=(groups_by_width(c), groups)) for c in widths
        )
        self.attentions = nn.ModuleList(
            Attention(c_out, config, SCALE, groups=ATTENTION_GROUPS)
            for _ in widths
            if kind.startswith("Attn")
        )
        self.resnet_down = self.skip_conv = None
        if not last:
            self.resnet_down = ResnetBlock(
                c_out, c_out, config, SCALE, groups=(groups, groups), resample=filter_down, project=True
            )
            self.skip_conv = nn.Conv2d(config.in_channels, c_out, 1)

    def forward(self, x: Tensor, emb: Tensor, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return every feature map made on the way, and the image for the next level."""
        skips = []
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, emb)
            if self.attentions:
                x = self.attentions[i](x)
            skips.append(x)
        if self.resnet_down is not None and self.skip_conv is not None:
            image = filter_down(image)
            skips.append(self.skip_conv(image) + self.resnet_down(x, emb))
        return skips, image


class SkipUpBlock(nn.Module):
    """One level on the way up; it has one attention at most, after its residual blocks."""

    def __init__(
        self, c_in: int, c_skips: list[int], c_out: int, config: UNetConfig, kind: str, last: bool
    ) -> None:
        super().__init__()
        groups, attention = groups_by_width(c_out), kind.startswith("Attn")
        widths = [c_in] + [c_out] * (len(c_skips) - 1)
        self.resnets = nn.ModuleList()
        for c, c_skip in zip(widths, c_skips, strict=True):
            # diffusers divides only one of the summands by four where there is attention: the same from 128.
            groups_in = min(c + c_skip // 4, 32) if attention else groups_by_width(c + c_skip)
            self.resnets.append(ResnetBlock(c + c_skip, c_out, config, SCALE, groups=(groups_in, groups)))
        self.attentions = nn.ModuleList(
            [Attention(c_out, config, SCALE, groups=ATTENTION_GROUPS)] if attention else []
        )
        self.resnet_up = self.skip_norm = self.skip_conv = None
        if not last:
            self.resnet_up = ResnetBlock(
                c_out, c_out, config, SCALE, groups=(groups, groups), resample=filter_up, project=True
            )
            self.skip_norm = nn.GroupNorm(groups, c_out, config.norm_eps)
            self.skip_conv = nn.Conv2d(c_out, config.out_channels, 3, padding=1)

    def forward(
        self, x: Tensor, skips: list[Tensor], emb: Tensor, image: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Consume feature maps from the end of ``skips``; return the last one and the image so far."""
        for resnet in self.resnets:
            x = resnet(torch.cat([x, skips.pop()], dim=1), emb)
        for attention in self.attentions:
            x = attention(x)
        image = None if image is None else filter_up(image)
        if self.resnet_up is not None and self.skip_norm is not None and self.skip_conv is not None:
            added = self.skip_conv(F.silu(self.skip_norm(x)))
            image = added if image is None else image + added
            x = self.resnet_up(x, emb)
        return x, image
