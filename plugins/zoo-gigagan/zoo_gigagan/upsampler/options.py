"""The options of the upsampler and of its trainer, as zoo.toml declares them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class UpscalingOptions:
    """Options of ``zoo run``."""

    input: str | None
    overlap: bool
    noise: bool


@dataclass(frozen=True)
class TrainingOptions:
    """Options of ``zoo train gigagan-upsampler``."""

    channels: int
    blocks: int
    kernels: int
    z_dim: int
    w_dim: int
    discriminator_channels: str | None
    r1: float
    r1_every: int
    nearness: float
    consistency: float
    weights: str
