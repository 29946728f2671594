"""Rotary position embeddings: rotate queries and keys by their position, so that scores depend on distance.

Su et al. 2021 (arXiv:2104.09864). Channel i rotates together with channel i + dims/2.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from zoo_gpt.network.rope_scaling import RopeScaling


@dataclass(frozen=True)
class Rope:
    """Rotation by the position in a sequence."""

    dims: int
    """Channels of a head that rotate; the others stay."""
    theta: float
    """Channel pair k rotates by theta^(-2k/dims) radians per position."""
    scaling: RopeScaling | None = None
    """How the frequencies are changed for contexts longer than the one trained on."""

    def frequencies(self) -> Tensor:
        """Return (dims/2,) radians per position, float32, in sequences up to the original context."""
        frequencies = self.theta ** -(torch.arange(0, self.dims, 2).float() / self.dims)
        return frequencies if self.scaling is None else self.scaling.scaled(frequencies, self.theta)

    @property
    def depends_on_length(self) -> bool:
        """The frequencies depend on the length of the sequence."""
        return self.scaling is not None and self.scaling.depends_on_length

    def changes_at(self, length: int) -> bool:
        """Return True if a sequence that grows to ``length`` tokens gets other frequencies than before."""
        return self.scaling is not None and self.scaling.changes_at(length)

    def angles(self, positions: Tensor) -> Tensor:
        """Return the angle of every channel pair, (*positions.shape, dims/2) float32."""
        frequencies = _frequencies(self, positions.device)
        if self.scaling is not None and self.depends_on_length:
            # Each sequence's own length, so that it does not depend on those beside it.
            frequencies = self.scaling.for_length(frequencies, positions[..., -1:, None] + 1)
        return positions[..., None].float() * frequencies

    def rotation(self, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Return the cos and sin of the angles, each (*positions.shape, dims/2) float32.

        Args:
            positions: (…, t) int64. The last one ends the sequence, on whose length some scalings depend.
        """
        angles = self.angles(positions)
        if self.scaling is None or self.scaling.attention_factor == 1:
            return angles.cos(), angles.sin()
        return angles.cos() * self.scaling.attention_factor, angles.sin() * self.scaling.attention_factor


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
