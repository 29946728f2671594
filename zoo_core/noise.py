"""Per-sample random streams: row *i* of every draw comes from sample *i*'s own stream.

A stream is the Philox4x64-10 counter generator keyed by the sample's seed (Salmon et al. 2011,
"Parallel random numbers: as easy as 1, 2, 3"). Its 64-bit words become uniforms, and uniforms become
normals through the normal quantile function, one word a number. Both steps are fixed formulas over a
bit generator whose output numpy keeps stable, so a seed means the same noise on every machine, in every
batch, and after every upgrade.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from zoo_core.errors import OptionError

if TYPE_CHECKING:
    import torch

MAX_SEED = 2**63 - 1


class Noise:
    """Independent random streams, one per sample of a batch.

    Every draw advances every stream by the same amount, so what sample *i* sees does not depend on the
    samples beside it. Draws are made on the CPU in float32 and then moved to ``device``.

    Args:
        seeds: One seed per sample, each in ``[0, 2**63)``.
        device: Where drawn tensors are put.
        latents: (n, …) floats that the first draw of normals returns in place of the streams' own.
    """

    def __init__(
        self,
        seeds: Sequence[int],
        device: torch.device | str = "cpu",
        latents: torch.Tensor | None = None,
    ) -> None:
        self.seeds = tuple(check_seed(seed) for seed in seeds)
        self.device = device
        self.latents = latents
        """Those that no draw has returned yet."""
        self._streams = [np.random.Philox(key=seed) for seed in self.seeds]

    def uniform(self, *shape: int) -> torch.Tensor:
        """Draw float32 uniforms in the open interval (0, 1), shape ``(n, *shape)``."""
        import torch

        # Rounding to float32 would turn the doubles nearest to one into one; keep the interval open.
        below_one = float(np.nextafter(np.float32(1), np.float32(0)))
        return torch.from_numpy(self._draw(shape)).clamp_(max=below_one).float().to(self.device)

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw float32 standard normals, shape ``(n, *shape)``."""
        import torch

        normals: torch.Tensor = torch.special.ndtri(torch.from_numpy(self._draw(shape)))
        if self.latents is not None:
            normals, self.latents = self._fitting(self.latents, shape), None
        return normals.float().to(self.device)

    @staticmethod
    def _fitting(latents: torch.Tensor, shape: tuple[int, ...]) -> torch.Tensor:
        if tuple(latents.shape[1:]) != shape:
            sizes = ", ".join(map(str, shape))
            raise OptionError(
                f"latents: the model begins with noise of shape (n, {sizes}), not {tuple(latents.shape)}.",
                "Give normals of that shape, a row for each sample.",
            )
        return latents

    def branch(self, index: int) -> Noise:
        """Return further streams of the same samples, at their beginning, for draws in no fixed order.

        Branch k of a stream is the generator with k in the other half of its key; 0 is the stream itself.

        Args:
            index: Which, in ``[0, 2**64)``.
        """
        branch = Noise(self.seeds, self.device)
        branch._streams = [np.random.Philox(key=seed + (index << 64)) for seed in self.seeds]
        return branch

    def _draw(self, shape: tuple[int, ...]) -> np.ndarray:
        """Float64 uniforms at the midpoints of 2**52 equal cells of (0, 1), shape (n, *shape)."""
        count = math.prod(shape)
        words = np.empty((len(self._streams), count), dtype=np.uint64)
        for row, stream in zip(words, self._streams, strict=True):
            row[:] = stream.random_raw(count)
        uniforms = (words >> np.uint64(12)).astype(np.float64)
        uniforms += 0.5
        uniforms *= 2.0**-52
        return uniforms.reshape(len(self._streams), *shape)


def check_seed(seed: object) -> int:
    """Return ``seed`` if it is an integer in ``[0, 2**63)``; raise OptionError otherwise."""
    if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed <= MAX_SEED:
        raise OptionError(f"{seed!r} is not a seed.", f"Give a whole number from 0 to {MAX_SEED}, such as 7.")
    return seed
