"""The options of the text-to-image generator and of its trainer, as zoo.toml declares them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class SamplingOptions:
    """Options of ``zoo run``."""

    mix: str | None
    mix_from: int
    toward: str | None
    share: tuple[float, ...]
    truncation: tuple[float, ...]


@dataclass(frozen=True)
class TrainingOptions:
    """Options of ``zoo train gigagan``."""

    channels: str | None
    discriminator_channels: str | None
    entries: str | None
    kernels: int
    attention: int
    discriminator_attention: int
    z_dim: int
    w_dim: int
    text_width: int
    text_layers: int
    text_encoder: str | None
    context: int
    r1: float
    r1_every: int
    matching: float
    mixing: float
    mixing_prompts: float
    weights: str
