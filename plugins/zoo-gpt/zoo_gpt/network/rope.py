"""Rotary position embeddings: rotate queries and keys by their position, so that scores depend on distance.

Su et al. 2021 (arXiv:2104.09864). Channel i rotates together with channel i + dims/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1's scaling to a longer context: low frequencies are divided, high ones kept."""

    factor: float
    """Divisor of the lowest frequencies."""
    low_freq_factor: float
    high_freq_factor: float
    """Frequencies with fewer than ``low`` turns in the original context are divided by the whole factor,
    those with more than ``high`` are kept, those between are interpolated."""
    original_context: float


@dataclass(frozen=True)
class Rope:
    """Rotation by the position in a sequence."""

    dims: int
    """Channels of a head that rotate; the others stay."""
    theta: float
    """Channel pair k rotates by theta^(-2k/dims) radians per position."""
    scaling_factor: float = 1.0
    """Divisor of all frequencies ("linear" scaling)."""
    llama3: Llama3Scaling | None = None

    def frequencies(self) -> Tensor:
        """Return (dims/2,) radians per position, float32."""
        frequencies = self.theta ** -(torch.arange(0, self.dims, 2).float() / self.dims) / self.scaling_factor
        return frequencies if self.llama3 is None else _scaled(frequencies, self.llama3)

    def angles(self, positions: Tensor) -> Tensor:
        """Return the angle of every channel pair, (*positions.shape, dims/2) float32."""
        return positions[..., None].float() * _frequencies(self, positions.device)

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cos and sin of the angles, each (*positions.shape, dims/2) float32."""
        angles = self.angles(positions)
        return angles.cos(), angles.sin()


@dataclass(frozen=True)
class GridRope:
    """Rotation by row and column in a square grid, which follows a class token.

    The first half of the channel pairs rotates by the row, the second by the column: LlamaGen (Sun et al.
    2024, arXiv:2406.06525, section 2.3).
    """

    dims: int
    """Channels of a head that rotate, a multiple of 4."""
    theta: float
    """Pair k of an axis rotates by theta^(-4k/dims) radians per row or column."""
    side: int
    """Number of rows and of columns."""

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cos and sin, each (*positions.shape, dims/2) float32; position 0 is the class token."""
        cells = positions - 1
        rows_columns = torch.stack([cells // self.side, cells % self.side], dim=-1)
        angles = Rope(self.dims // 2, self.theta).angles(rows_columns).flatten(-2)
        # Both are zero for the class token: its query and key vanish, as in the published tables.
        in_grid = (positions > 0)[..., None]
        return angles.cos() * in_grid, angles.sin() * in_grid


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Rotate the first channels of x (n, heads, t, head_dim); cos and sin are (n or 1, 1, t, dims/2)."""
    half = cos.shape[-1]
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)


@lru_cache(maxsize=16)
def _frequencies(rope: Rope, device: torch.device) -> Tensor:
    """Return a rope's frequencies, computed on the CPU and copied to a device once, not for each token."""
    with torch.inference_mode(False):
        return rope.frequencies().to(device)


def _scaled(frequencies: Tensor, scaling: Llama3Scaling) -> Tensor:
    turns = scaling.original_context * frequencies / (2 * math.pi)
    span = scaling.high_freq_factor - scaling.low_freq_factor
    kept = ((turns - scaling.low_freq_factor) / span).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)
