"""Latent diffusion for the zoo: the hook implementations, importing nothing heavy."""

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
    """Build the pipeline of a card or of a compatible checkpoint."""
    from zoo_latent.generator import LatentDiffusion

    return LatentDiffusion(checkpoint, device, dtype)
