"""The U-Net of denoising diffusion models.

Ho, Jain and Abbeel 2020, "Denoising Diffusion Probabilistic Models" (arXiv:2006.11239), section 4 and
appendix B: a U-Net of residual blocks with group normalisation and SiLU, self-attention at some
resolutions, and the timestep entering every residual block through a sinusoidal embedding.

Parameters are named as in published checkpoints of diffusers' ``UNet2DModel`` (google/ddpm-*, sd-class-*),
so that their tensors load without renaming. :class:`~zoo_ddpm.unet_config.UNetConfig` holds the options of
their config.json, and ``unet_blocks.py`` the parts: read that first.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_ddpm.ncsnpp import FourierProjection, SkipDownBlock, SkipUpBlock
from zoo_ddpm.unet_blocks import DownBlock, MidBlock, TimeMLP, UpBlock, sinusoidal_embedding
from zoo_ddpm.unet_config import UNetConfig


class Encoder(nn.Module):
    """The way down to the lowest resolution and through the middle, which the classifiers share."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        channels, e = config.block_out_channels, config.embedding_width
        is_fourier = config.time_embedding_type == "fourier"
        self.time_proj = FourierProjection(channels[0]) if is_fourier else None
        c_waves = 2 * channels[0] if is_fourier else config.time_channels or channels[0]
        self.time_embedding = TimeMLP(c_waves, e)
        self.class_embedding: nn.Module | None = None
        if config.class_embed_type == "timestep":
            self.class_embedding = TimeMLP(c_waves, e)
        elif config.class_embed_type == "identity":
            self.class_embedding = nn.Identity()
        elif config.num_class_embeds:
            self.class_embedding = nn.Embedding(config.num_class_embeds, e)

        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        c = channels[0]
        for i, (c_out, kind) in enumerate(zip(channels, config.down_block_types, strict=True)):
            block = SkipDownBlock if "Skip" in kind else DownBlock
            self.down_blocks.append(block(c, c_out, config, kind, last=i == len(channels) - 1))
            c = c_out
        self.mid_block = MidBlock(c, config)

    def embed(self, t: Tensor, labels: Tensor | None = None) -> Tensor:
        """Embed timesteps t (n or 1,) and, for a class-conditional network, labels (n,): (n or 1, e).

        Raises:
            ValueError: if labels are given to an unconditional network, or not given to a conditional one.
        """
        if (labels is None) != (self.class_embedding is None):
            raise ValueError("labels are for class-conditional networks, which need them")
        emb: Tensor = self.time_embedding(self._waves(t))
        if self.class_embedding is not None and labels is not None:
            if self.config.class_embed_type == "timestep":
                labels = self._waves(labels)
            emb = emb + self.class_embedding(labels)
        return emb

    def _waves(self, t: Tensor) -> Tensor:
        waves = sinusoidal_embedding(t, self.config) if self.time_proj is None else self.time_proj(t)
        return waves.to(self.time_embedding.linear_1.weight.dtype)

    def encode(self, x: Tensor, emb: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Map (n, c, h, w) and the SiLU of the embedding to the middle's output and all maps before it."""
        if self.config.center_input_sample:
            x = 2 * x - 1
        image = x
        skips = [self.conv_in(x)]
        for down in self.down_blocks:
            if isinstance(down, SkipDownBlock):
                maps, image = down(skips[-1], emb, image)
            else:
                maps = down(skips[-1], emb)
            skips += maps
        return self.mid_block(skips[-1], emb), skips


class UNet(Encoder):
    """The network: down to the lowest resolution, through the middle, and up again along the feature maps."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__(config)
        channels = config.block_out_channels
        c_skips = [channels[0]]
        for i, c in enumerate(channels):
            c_skips += [c] * (config.layers_per_block + (i < len(channels) - 1))
        c = channels[-1]
        self.up_blocks = nn.ModuleList()
        for c_out, kind in zip(reversed(channels), config.up_block_types, strict=True):
            taken = [c_skips.pop() for _ in range(config.layers_per_block + 1)]
            block = SkipUpBlock if "Skip" in kind else UpBlock
            self.up_blocks.append(block(c, taken, c_out, config, kind, last=not c_skips))
            c = c_out
        self.conv_norm_out = nn.GroupNorm(config.groups(c), c, config.norm_eps)
        self.conv_out = nn.Conv2d(c, config.out_channels, 3, padding=1)

    def forward(self, x: Tensor, t: Tensor | float, labels: Tensor | None = None) -> Tensor:
        """Predict from noisy images.

        Args:
            x: Images x_t, (n, in_channels, h, w); h and w multiples of 2 to the number of levels less one.
            t: Timesteps, (n,) or one for all; noise levels, if they are embedded by ``fourier``.
            labels: Class labels, (n,) int64, if the network is class-conditional; vectors (n, e), if classes
                are embedded by ``identity``.

        Returns:
            The prediction, (n, out_channels, h, w).
        """
        t = torch.as_tensor(t, device=x.device).reshape(-1)
        emb = F.silu(self.embed(t, labels))  # (n, e), or (1, e) for one t and no labels
        x, skips = self.encode(x, emb)
        image = None
        for up in self.up_blocks:
            if isinstance(up, SkipUpBlock):
                x, image = up(x, skips, emb, image)
            else:
                x = up(x, skips, emb)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        if image is not None:
            out = out + image
        return out / t.to(out.dtype).view(-1, 1, 1, 1) if self.time_proj is not None else out
