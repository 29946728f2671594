"""What a U-Net is made of: the ``config.json`` of diffusers' ``UNet2DModel``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Annotated, Any, Literal

from zoo_core import Between, WeightsError, read_config

REMEDY = "Use a checkpoint of a network that zoo-ddpm has, or correct that file."

WITHOUT_EFFECT = frozenset({
    "num_train_timesteps", "zoo",
    "decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step", "use_ema_warmup",
})  # fmt: skip
"""Keys that say nothing about this network: how a *learned* time embedding is sized, and how diffusers'
training script averaged the weights (``unet_ema/``)."""

NOT_IN_DIFFUSERS = ("attention_heads", "time_channels")

Count = Annotated[int, Between(1, 65_536)]
DownBlock = Literal[
    "DownBlock2D", "AttnDownBlock2D", "ResnetDownsampleBlock2D", "SkipDownBlock2D", "AttnSkipDownBlock2D"
]
UpBlock = Literal["UpBlock2D", "AttnUpBlock2D", "ResnetUpsampleBlock2D", "SkipUpBlock2D", "AttnSkipUpBlock2D"]
Resampling = Literal["conv", "resnet"]


def groups_by_width(c: int) -> int:
    """Return a quarter of the channels, at most 32."""
    return min(c // 4, 32)


@dataclass(frozen=True)
class UNetConfig:
    """The options of config.json under their own names, with their own defaults.

    Raises:
        ValueError: The options contradict each other.
    """

    sample_size: Annotated[int | tuple[int, int] | None, Between(1, 8192)] = None
    """Height and width of the images it was trained on; one number for squares."""
    in_channels: Count = 3
    """Channels of x_t."""
    out_channels: Count = 3
    """Channels of the prediction: twice ``in_channels`` where the variance is learned too."""
    block_out_channels: tuple[Count, ...] = (224, 448, 672, 896)
    """Channels at each level, from the full resolution down; each further level halves height and width."""
    down_block_types: tuple[DownBlock, ...] = (
        "DownBlock2D",
        "AttnDownBlock2D",
        "AttnDownBlock2D",
        "AttnDownBlock2D",
    )
    """The levels on the way down, with or without self-attention; ``Skip``: see ``zoo_ddpm.ncsnpp``."""
    up_block_types: tuple[UpBlock, ...] = ("AttnUpBlock2D", "AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D")
    """The levels on the way up, from the lowest resolution."""
    layers_per_block: Annotated[int, Between(1, 64)] = 2
    """Residual blocks per level on the way down; the way up has one more."""
    add_attention: bool = True
    """Whether the middle, at the lowest resolution, has self-attention."""
    attention_head_dim: Annotated[int | None, Between(1, 65_536)] = 8
    """Channels of one attention head; None for a single head."""
    attention_heads: Annotated[int | None, Between(1, 65_536)] = None
    """Heads of every attention, instead of ``attention_head_dim``; not in diffusers."""
    downsample_type: Resampling = "conv"
    """How levels with attention halve the size: by a convolution or in a residual block.
    ``ResnetDownsampleBlock2D`` has a residual block in any case, ``DownBlock2D`` a convolution."""
    upsample_type: Resampling = "conv"
    """The same on the way up."""
    resnet_time_scale_shift: Literal["default", "scale_shift"] = "default"
    """How a residual block takes the time embedding: added, or as a gain and a shift after the second norm
    (Dhariwal & Nichol 2021, arXiv:2105.05233, section 3.1)."""
    norm_num_groups: Annotated[int | None, Between(1, 65_536)] = 32
    """Groups of every group normalisation; None: a quarter of the channels, at most 32, as in ``Skip`` blocks
    in any case."""
    attn_norm_num_groups: Annotated[int | None, Between(1, 65_536)] = None
    """Groups of the norm in the middle's attention; None: ``norm_num_groups``."""
    norm_eps: Annotated[float, Between(1e-12, 1)] = 1e-5
    """Epsilon of every group normalisation."""
    dropout: Annotated[float, Between(0, 0.999)] = 0.0
    """Dropout probability inside residual blocks, in training."""
    downsample_padding: Literal[0, 1] = 1
    """Zeros around the image before a stride-2 convolution; 0 pads the bottom and right edges only."""
    mid_block_scale_factor: Annotated[float, Between(1e-6, 1e6)] = 1.0
    """Every residual sum in the middle is divided by it."""
    freq_shift: Annotated[float, Between(-65_536, 65_536)] = 0.0
    """Time frequency i of k is 10000^(-i/(k - freq_shift)): 1 in the paper's code, 0 in most later work."""
    flip_sin_to_cos: bool = True
    """Whether the cosines of the time embedding come before the sines."""
    time_embedding_type: Literal["positional", "fourier"] = "positional"
    """``fourier``: t is a noise level, embedded by the sines and cosines of its logarithm; the output is
    divided by it."""
    time_channels: Annotated[int | None, Between(2, 65_536)] = None
    """Width of the sines and cosines; None: the first level's; not in diffusers."""
    time_embedding_dim: Annotated[int | None, Between(1, 65_536)] = None
    """Width of the time embedding; None: four times the first level's."""
    center_input_sample: bool = False
    """Whether images arrive in [0, 1] and the network shifts them to [-1, 1]."""
    num_class_embeds: Annotated[int | None, Between(1, 2**20)] = None
    """Number of class labels, the null class of classifier-free guidance included; None if unconditional."""
    class_embed_type: Literal[None, "timestep", "identity"] = None
    """How a class is embedded: by a table, as a timestep is, or not at all: it is a vector already."""

    def __post_init__(self) -> None:
        channels, groups = self.block_out_channels, self.norm_num_groups
        levels = len(channels)
        if not 1 <= levels <= 16:
            raise ValueError(f"block_out_channels has {levels} levels; expected 1 to 16.")
        for name in ("down_block_types", "up_block_types"):
            if len(getattr(self, name)) != levels:
                raise ValueError(
                    f"{name} has {len(getattr(self, name))} entries; expected {levels}, one a level."
                )
        for c in channels:
            if groups and c % groups:
                raise ValueError(
                    f"block_out_channels has {c}, which norm_num_groups {groups} does not divide."
                )
        if channels[0] % 2:
            raise ValueError(f"block_out_channels begins with {channels[0]}; expected an even number.")
        if self.freq_shift >= channels[0] // 2:
            raise ValueError(f"freq_shift is {self.freq_shift:g}; expected less than {channels[0] // 2}.")
        for c in self._attending_channels():
            for name in ("attention_head_dim", "attention_heads"):
                if c % (getattr(self, name) or c):
                    raise ValueError(f"{name} is {getattr(self, name)}, which does not divide {c} channels.")
        if self.add_attention:
            if self.resnet_time_scale_shift != "default" and self.attn_norm_num_groups is None:
                raise ValueError("attn_norm_num_groups is missing, which scale_shift needs in the middle.")
            if channels[-1] % (self.attn_norm_num_groups or 1):
                raise ValueError(
                    f"attn_norm_num_groups is {self.attn_norm_num_groups}, which does not divide "
                    f"{channels[-1]} channels."
                )
        if self.sample_size is not None:
            for side in self.image_size:
                if side % 2 ** (levels - 1):
                    raise ValueError(f"sample_size is {side}; expected a multiple of {2 ** (levels - 1)}.")

    def _attending_channels(self) -> list[int]:
        """Return the channels of every block with self-attention."""
        channels = self.block_out_channels
        down = zip(channels, self.down_block_types, strict=True)
        up = zip(reversed(channels), self.up_block_types, strict=True)
        found = {c for pairs in (down, up) for c, kind in pairs if "Attn" in kind}
        return sorted(found | ({channels[-1]} if self.add_attention else set()))

    @property
    def embedding_width(self) -> int:
        """Width of the time embedding."""
        return self.time_embedding_dim or 4 * self.block_out_channels[0]

    def groups(self, c: int) -> int:
        """Return the groups of a norm of c channels."""
        return self.norm_num_groups or groups_by_width(c)

    def head_dim(self, c: int) -> int:
        """Return the channels of an attention head, of c channels in all."""
        return c // self.attention_heads if self.attention_heads else self.attention_head_dim or c

    @property
    def image_size(self) -> tuple[int, int]:
        """Height and width of the images the network was trained on.

        Raises:
            WeightsError: config.json does not say.
        """
        if self.sample_size is None:
            raise WeightsError("sample_size, the height and width of the images, is missing.", REMEDY)
        return self.sample_size if isinstance(self.sample_size, tuple) else (self.sample_size,) * 2

    @classmethod
    def from_json(cls, config: Mapping[str, Any], source: str = "config.json") -> UNetConfig:
        """Read the content of a config.json; keys that begin with an underscore are its metadata.

        Raises:
            WeightsError: Names ``source`` and the option that is unknown or has a value no network here has.
        """
        given = {key: value for key, value in config.items() if not key.startswith("_")}
        read = read_config(_UNetFile, given, source, ignore=WITHOUT_EFFECT, remedy=REMEDY)
        return cls(**{option.name: getattr(read, option.name) for option in fields(cls)})

    def to_json(self) -> dict[str, Any]:
        """Return what config.json holds; diffusers' ``UNet2DModel`` reads it back to the same network.

        (But for options that it does not have, which only converted networks use.)
        """
        options = {
            name: value
            for name, value in asdict(self).items()
            if value is not None or name not in NOT_IN_DIFFUSERS
        }
        return {"_class_name": "UNet2DModel", **options}


@dataclass(frozen=True)
class _UNetFile(UNetConfig):
    """A config.json: also the options for which this network knows one value."""

    act_fn: Literal["silu", "swish"] = "silu"
    mid_block_type: Literal["UNetMidBlock2D"] = "UNetMidBlock2D"
