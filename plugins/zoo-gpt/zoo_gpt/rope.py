"""Rotary position embeddings: queries and keys turn with their position, so that scores see distances.

Su et al. 2021 (arXiv:2104.09864). Channel i turns together with channel i + dims/2.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor


@dataclass(frozen=True)
class Llama3Scaling:
    """Llama 3.1's way to a longer context: slow turns become slower still, fast ones stay."""

    factor: float
    """How many times as slow the slowest turn."""
    low_freq_factor: float
    high_freq_factor: float
    """Turns that fit less often than ``low`` into the original context are slowed in full, those that fit
    more often than ``high`` not at all."""
    original_context: int


@dataclass(frozen=True)
class Rope:
    """How fast channels turn."""

    dims: int
    """Channels of a head that turn; the others stay."""
    theta: float
    """Channel pair k turns by theta^(-2k/dims) radians a position."""
    slowdown: float = 1.0
    """All turns are this many times as slow ("linear" scaling)."""
    llama3: Llama3Scaling | None = None

    def frequencies(self) -> Tensor:
        """Return (dims/2,) radians a position, float32."""
        frequencies = self.theta ** -(torch.arange(0, self.dims, 2).float() / self.dims) / self.slowdown
        return frequencies if self.llama3 is None else _slowed(frequencies, self.llama3)

    def angles(self, positions: Tensor) -> Tensor:
        """Return the angle of every channel pair, (*positions.shape, dims/2) float32."""
        return positions[..., None].float() * _frequencies(self, positions.device)

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cos and sin of the angles, each (*positions.shape, dims/2) float32."""
        angles = self.angles(positions)
        return angles.cos(), angles.sin()


@dataclass(frozen=True)
class GridRope:
    """Channels turn with a place in a square that is read row by row, after a token that has no place.

    The first half of the channel pairs turns with the row, the second with the column: LlamaGen (Sun et al.
    2024, arXiv:2406.06525, section 2.3).
    """

    dims: int
    """Channels of a head that turn, a multiple of 4."""
    theta: float
    """Pair k of an axis turns by theta^(-4k/dims) radians a row or column."""
    side: int
    """Rows, and columns, of the square."""

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return cos and sin, each (*positions.shape, dims/2) float32; position 0 has no place."""
        cells = positions - 1
        places = torch.stack([cells // self.side, cells % self.side], dim=-1)
        angles = Rope(self.dims // 2, self.theta).angles(places).flatten(-2)
        # Both are zero for a token with no place: its query and its key vanish, as in the published tables.
        placed = (positions > 0)[..., None]
        return angles.cos() * placed, angles.sin() * placed


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the first channels of x (n, heads, t, head_dim); cos and sin are (n or 1, 1, t, dims/2)."""
    half = cos.shape[-1]
    a, b, rest = x[..., :half], x[..., half : 2 * half], x[..., 2 * half :]
    return torch.cat([a * cos - b * sin, b * cos + a * sin, rest], dim=-1)


@lru_cache(maxsize=16)
def _frequencies(rope: Rope, device: torch.device) -> Tensor:
    """A rope's frequencies, the same on every device, and copied to it once rather than for each token."""
    with torch.inference_mode(False):
        return rope.frequencies().to(device)


def _slowed(frequencies: Tensor, scaling: Llama3Scaling) -> Tensor:
    turns = scaling.original_context * frequencies / (2 * math.pi)
    span = scaling.high_freq_factor - scaling.low_freq_factor
    kept = ((turns - scaling.low_freq_factor) / span).clamp(0, 1)
    return frequencies * (kept + (1 - kept) / scaling.factor)
