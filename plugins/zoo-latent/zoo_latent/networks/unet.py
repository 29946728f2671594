"""The U-Net with cross-attention of latent diffusion models.

Rombach et al. 2022 (arXiv:2112.10752), section 3.3: a U-Net whose levels attend to the words of a prompt;
Podell et al. 2023, "SDXL" (arXiv:2307.01952), section 2.2: the sizes and the pooled prompt are embedded too;
Luo et al. 2023, "Latent Consistency Models" (arXiv:2310.04378), section 4.3: so is the guidance scale.

Parameters are named as in checkpoints of diffusers' ``UNet2DConditionModel``. Read from the smallest part to
the whole. In shape comments n is the batch, c channels, h × w the latents, e the width of the time embedding.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zoo_core import Between
from zoo_latent.config import Positive, Size, read_published
from zoo_latent.networks.autoencoder_kl import check_levels
from zoo_latent.networks.layers import (
    Attention,
    Downsample,
    ResnetBlock,
    TimestepEmbedding,
    Upsample,
    as_image,
    as_tokens,
    sinusoidal_embedding,
)

ONLY: Mapping[str, Any] = {
    "act_fn": "silu",
    "attention_type": "default",
    "center_input_sample": False,
    "class_embed_type": None,
    "class_embeddings_concat": False,
    "conv_in_kernel": 3,
    "conv_out_kernel": 3,
    "cross_attention_norm": None,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "encoder_hid_dim_type": None,
    "mid_block_only_cross_attention": False,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_out_scale_factor": 1.0,
    "resnet_skip_time_act": False,
    "resnet_time_scale_shift": "default",
    "reverse_transformer_layers_per_block": None,
    "time_embedding_act_fn": None,
    "time_embedding_dim": None,
    "time_embedding_type": "positional",
    "timestep_post_act": None,
}
"""Settings for which one value is implemented."""
WITHOUT_EFFECT = frozenset({"addition_embed_type_num_heads", "dropout", "upcast_attention"})
"""Settings of training, of other models, and of attention in float16, which torch computes in float32."""

T = TypeVar("T")


@dataclass(frozen=True)
class UNetConfig:
    """What a U-Net is made of: the settings of config.json, with their defaults."""

    sample_size: Size | tuple[Size, Size] | None = None
    """Height and width of the latents it was trained on."""
    in_channels: Size = 4
    """Channels of x_t; 9 with the mask and the masked image of an inpainting model."""
    out_channels: Size = 4
    flip_sin_to_cos: bool = True
    freq_shift: float = 0.0
    down_block_types: tuple[Literal["CrossAttnDownBlock2D", "DownBlock2D"], ...] = (
        "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D",
    )  # fmt: skip
    mid_block_type: Literal["UNetMidBlock2DCrossAttn"] | None = "UNetMidBlock2DCrossAttn"
    up_block_types: tuple[Literal["CrossAttnUpBlock2D", "UpBlock2D"], ...] = (
        "UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D",
    )  # fmt: skip
    block_out_channels: tuple[Size, ...] = (320, 640, 1280, 1280)
    """Channels at each level, from the full resolution down."""
    layers_per_block: Size | tuple[Size, ...] = 2
    downsample_padding: Annotated[int, Between(0, 1)] = 1
    mid_block_scale_factor: Positive = 1.0
    norm_num_groups: Size = 32
    norm_eps: Positive = 1e-5
    cross_attention_dim: Size | tuple[Size, ...] = 1280
    """Width of the words' embeddings."""
    transformer_layers_per_block: Size | tuple[Size, ...] = 1
    attention_head_dim: Size | tuple[Size, ...] = 8
    """The number of heads, in spite of its name, where ``num_attention_heads`` is not given."""
    num_attention_heads: Size | tuple[Size, ...] | None = None
    use_linear_projection: bool = False
    addition_embed_type: Literal["text_time"] | None = None
    """``text_time``: SDXL's pooled prompt and sizes are embedded."""
    addition_time_embed_dim: Size | None = None
    projection_class_embeddings_input_dim: Size | None = None
    time_cond_proj_dim: Size | None = None
    """Width of the embedded guidance scale, of a model that has learned guidance."""

    def __post_init__(self) -> None:
        check_levels(self)
        levels = len(self.block_out_channels)
        for name in (
            "layers_per_block", "cross_attention_dim", "transformer_layers_per_block", "attention_head_dim",
            "num_attention_heads",
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) != levels:
                raise ValueError(f"{name} has {len(value)} entries; expected {levels}.")
        for c, heads in zip(self.block_out_channels, self.heads, strict=True):
            if c % heads:
                raise ValueError(f"{heads} attention heads do not divide {c} channels.")
        if self.block_out_channels[0] % 2 or self.freq_shift >= self.block_out_channels[0] // 2:
            raise ValueError("block_out_channels must begin with an even number above twice freq_shift.")
        if self.addition_embed_type and not (
            self.addition_time_embed_dim and self.projection_class_embeddings_input_dim
        ):
            raise ValueError(
                "text_time needs addition_time_embed_dim and projection_class_embeddings_input_dim."
            )

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str) -> UNetConfig:
        """Read a config.json; WeightsError names a setting that is unknown or not implemented."""
        return read_published(cls, config, source, only=ONLY, ignore=WITHOUT_EFFECT)

    def by_level(self, value: T | tuple[T, ...]) -> tuple[T, ...]:
        """Return one value for each level."""
        return value if isinstance(value, tuple) else (value,) * len(self.block_out_channels)

    @property
    def heads(self) -> tuple[int, ...]:
        """Attention heads at each level."""
        return self.by_level(self.num_attention_heads or self.attention_head_dim)


class FeedForward(nn.Module):
    """GEGLU (Shazeer 2020, arXiv:2002.05202) of four times the width, and a linear layer back."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.net = nn.ModuleList([GEGLU(width, 4 * width), nn.Identity(), nn.Linear(4 * width, width)])

    def forward(self, x: Tensor) -> Tensor:
        """Map (n, tokens, width) to the same shape."""
        out: Tensor = self.net[2](self.net[0](x))
        return out


class GEGLU(nn.Module):
    """A linear layer, one half of it gated by the GELU of the other."""

    def __init__(self, c_in: int, c_out: int) -> None:
        super().__init__()
        self.proj = nn.Linear(c_in, 2 * c_out)

    def forward(self, x: Tensor) -> Tensor:
        """Map (…, c_in) to (…, c_out)."""
        value, gate = self.proj(x).chunk(2, dim=-1)
        out: Tensor = value * F.gelu(gate)
        return out


class TransformerBlock(nn.Module):
    """Self-attention, cross-attention to the prompt, and a feed-forward network, each beside a shortcut."""

    def __init__(self, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.norm1, self.norm2, self.norm3 = (nn.LayerNorm(width) for _ in range(3))
        self.attn1 = Attention(width, heads)
        self.attn2 = Attention(width, heads, context)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map x (n, tokens, width) and the prompt (n, words, context) to (n, tokens, width)."""
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2(self.norm2(x), context)
        out: Tensor = x + self.ff(self.norm3(x))
        return out


class SpatialTransformer(nn.Module):
    """Transformer blocks over the h·w positions of a feature map, beside a shortcut."""

    def __init__(self, c: int, heads: int, layers: int, context: int, config: UNetConfig) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(config.norm_num_groups, c, 1e-6)
        self.is_linear = config.use_linear_projection
        self.proj_in, self.proj_out = (
            nn.Linear(c, c) if self.is_linear else nn.Conv2d(c, c, 1) for _ in range(2)
        )
        self.transformer_blocks = nn.ModuleList(TransformerBlock(c, heads, context) for _ in range(layers))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        h = _project(self.proj_in, as_tokens(self.norm(x)))  # (n, h·w, c)
        for block in self.transformer_blocks:
            h = block(h, context)
        return x + as_image(_project(self.proj_out, h), x)


def _project(layer: nn.Module, x: Tensor) -> Tensor:
    """Apply a linear layer, or a 1×1 convolution as one."""
    if isinstance(layer, nn.Linear):
        out: Tensor = layer(x)
        return out
    return F.linear(x, layer.get_parameter("weight").flatten(1), layer.get_parameter("bias"))


class DownBlock(nn.Module):
    """One level on the way down: residual blocks, each with attention if the level has it, then half size."""

    def __init__(self, c_in: int, level: int, config: UNetConfig) -> None:
        super().__init__()
        c_out, layers = config.block_out_channels[level], config.by_level(config.layers_per_block)[level]
        e = 4 * config.block_out_channels[0]
        self.resnets = nn.ModuleList(
            ResnetBlock(c, c_out, config.norm_num_groups, config.norm_eps, e)
            for c in [c_in] + [c_out] * (layers - 1)
        )
        attends = config.down_block_types[level] == "CrossAttnDownBlock2D"
        self.attentions = nn.ModuleList(_attention(level, config) for _ in self.resnets if attends)
        last = level == len(config.block_out_channels) - 1
        self.downsamplers = nn.ModuleList([] if last else [Downsample(c_out, config.downsample_padding)])

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> list[Tensor]:
        """Return every feature map made on the way, for the way up; the last one goes on down."""
        skips = []
        for i, resnet in enumerate(self.resnets):
            x = resnet(x, emb)
            if self.attentions:
                x = self.attentions[i](x, context)
            skips.append(x)
        for downsample in self.downsamplers:
            skips.append(downsample(x))
        return skips


def _attention(level: int, config: UNetConfig) -> SpatialTransformer:
    return SpatialTransformer(
        config.block_out_channels[level],
        config.heads[level],
        config.by_level(config.transformer_layers_per_block)[level],
        config.by_level(config.cross_attention_dim)[level],
        config,
    )


class MidBlock(nn.Module):
    """The lowest resolution: attention between two residual blocks."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        c, e = config.block_out_channels[-1], 4 * config.block_out_channels[0]
        groups, eps, scale = config.norm_num_groups, config.norm_eps, config.mid_block_scale_factor
        self.resnets = nn.ModuleList(ResnetBlock(c, c, groups, eps, e, scale) for _ in range(2))
        self.attentions = nn.ModuleList([_attention(len(config.block_out_channels) - 1, config)])

    def forward(self, x: Tensor, emb: Tensor, context: Tensor) -> Tensor:
        """Map (n, c, h, w) to the same shape."""
        x = self.attentions[0](self.resnets[0](x, emb), context)
        out: Tensor = self.resnets[1](x, emb)
        return out


class UpBlock(nn.Module):
    """One level on the way up: each residual block also takes a feature map from the way down."""

    def __init__(self, c_in: int, c_skips: list[int], index: int, config: UNetConfig) -> None:
        super().__init__()
        level = len(config.block_out_channels) - 1 - index
        c_out, e = config.block_out_channels[level], 4 * config.block_out_channels[0]
        widths = [c_in] + [c_out] * (len(c_skips) - 1)
        self.resnets = nn.ModuleList(
            ResnetBlock(c + c_skip, c_out, config.norm_num_groups, config.norm_eps, e)
            for c, c_skip in zip(widths, c_skips, strict=True)
        )
        attends = config.up_block_types[index] == "CrossAttnUpBlock2D"
        self.attentions = nn.ModuleList(_attention(level, config) for _ in widths if attends)
        self.upsamplers = nn.ModuleList([] if level == 0 else [Upsample(c_out)])

    def forward(self, x: Tensor, skips: list[Tensor], emb: Tensor, context: Tensor) -> Tensor:
        """Consume feature maps from the end of ``skips``."""
        for i, resnet in enumerate(self.resnets):
            x = resnet(torch.cat([x, skips.pop()], dim=1), emb)
            if self.attentions:
                x = self.attentions[i](x, context)
        for upsample in self.upsamplers:
            h, w = skips[-1].shape[2:]  # an odd size was rounded up on the way down
            x = upsample(x, (h, w))
        return x


class UNet(nn.Module):
    """The network: down to the lowest resolution, through the middle, and up again along the feature maps."""

    def __init__(self, config: UNetConfig) -> None:
        super().__init__()
        self.config = config
        channels = config.block_out_channels
        e = 4 * channels[0]
        self.time_embedding = TimestepEmbedding(channels[0], e, config.time_cond_proj_dim)
        added = config.projection_class_embeddings_input_dim
        self.add_embedding = TimestepEmbedding(added, e) if config.addition_embed_type and added else None

        self.conv_in = nn.Conv2d(config.in_channels, channels[0], 3, padding=1)
        self.down_blocks = nn.ModuleList()
        c = channels[0]
        c_skips = [c]
        layers = config.by_level(config.layers_per_block)
        for level, c_out in enumerate(channels):
            self.down_blocks.append(DownBlock(c, level, config))
            c_skips += [c_out] * (layers[level] + (level < len(channels) - 1))
            c = c_out
        self.mid_block = MidBlock(config) if config.mid_block_type else None
        self.up_blocks = nn.ModuleList()
        for index, level in enumerate(reversed(range(len(channels)))):
            taken = [c_skips.pop() for _ in range(layers[level] + 1)]
            self.up_blocks.append(UpBlock(c, taken, index, config))
            c = channels[level]
        self.conv_norm_out = nn.GroupNorm(config.norm_num_groups, c, config.norm_eps)
        self.conv_out = nn.Conv2d(c, config.out_channels, 3, padding=1)

    def forward(
        self,
        x: Tensor,
        t: Tensor | float,
        context: Tensor,
        pooled: Tensor | None = None,
        sizes: Tensor | None = None,
        guidance: Tensor | None = None,
    ) -> Tensor:
        """Predict from noisy latents.

        Args:
            x: x_t, (n, in_channels, h, w).
            t: Timesteps, (n,) or one for all.
            context: The embedded words, (n, words, cross_attention_dim).
            pooled: The pooled prompts of SDXL, (n, width).
            sizes: SDXL's original size, crop and target size, (n, 6).
            guidance: The guidance scale, embedded, (n, time_cond_proj_dim).

        Returns:
            The prediction, (n, out_channels, h, w).
        """
        config = self.config
        waves = sinusoidal_embedding(
            torch.as_tensor(t, device=x.device).reshape(-1),
            config.block_out_channels[0],
            config.flip_sin_to_cos,
            config.freq_shift,
        )
        emb = self.time_embedding(waves, guidance)
        if self.add_embedding is not None:
            assert pooled is not None
            assert sizes is not None
            assert config.addition_time_embed_dim is not None
            embedded = sinusoidal_embedding(
                sizes.flatten(), config.addition_time_embed_dim, config.flip_sin_to_cos, config.freq_shift
            ).view(len(sizes), -1)
            emb = emb + self.add_embedding(torch.cat([pooled, embedded.to(pooled)], dim=1))
        emb = F.silu(emb)
        # Convolutions are faster in this layout, and tokens are a view of it.
        x = self.conv_in(x.contiguous(memory_format=torch.channels_last))
        skips = [x]
        for down in self.down_blocks:
            skips += down(skips[-1], emb, context)
        x = skips[-1] if self.mid_block is None else self.mid_block(skips[-1], emb, context)
        for up in self.up_blocks:
            x = up(x, skips, emb, context)
        out: Tensor = self.conv_out(F.silu(self.conv_norm_out(x)))
        return out
