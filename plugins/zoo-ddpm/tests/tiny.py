"""A network of a few thousand parameters, for grey images of 8 × 8."""

from __future__ import annotations

from typing import Any

from zoo_ddpm.unet_config import UNetConfig


def tiny(**settings: Any) -> UNetConfig:
    return UNetConfig(
        sample_size=8,
        in_channels=1,
        out_channels=1,
        block_out_channels=(8,),
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
        layers_per_block=1,
        norm_num_groups=4,
        **settings,
    )
