"""Generative models of points in the plane: the hook implementation, importing nothing heavy.

For notebooks: ``zoo_toy2d.training.train`` and ``zoo_toy2d.data.draw``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import hookimpl

if TYPE_CHECKING:
    import torch

    from zoo_core import Checkpoint, Generator, ModelCard


@hookimpl
def zoo_create_generator(
    card: ModelCard, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None
) -> Generator:
    """Load a model of the card's family."""
    from zoo_toy2d.generators import GENERATORS

    return GENERATORS[card.family](checkpoint, device, dtype)
