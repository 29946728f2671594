"""A sampler's steps as the core shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from zoo_core import Step
from zoo_ddpm.samplers import Trajectory


def previewed(
    steps: Trajectory, total: int, metadata: tuple[Mapping[str, Any], ...] | None
) -> Iterator[Step]:
    """Yield a step for each of a sampler: the predictions of x_0 with x_t, and at last the samples."""
    for index, (x, x_0) in enumerate(steps, start=1):
        images = (x if index == total else x_0).clamp(-1, 1)
        yield Step(index, total, images, x_t=x, metadata=metadata)
