"""Latent diffusion for the zoo: the hook implementations, importing nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from zoo_core import Checkpoint, Conversion, Generator, ModelCard


@hookimpl
def zoo_create_generator(
    card: ModelCard, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None
) -> Generator:
    """Build the pipeline of a card or of a compatible checkpoint."""
    from zoo_latent.generator import LatentDiffusion

    return LatentDiffusion(checkpoint, device, dtype)


@hookimpl
def zoo_convert_checkpoint(path: Path) -> Conversion | None:
    """Read a .ckpt file of the original implementation, without running anything in it."""
    from zoo_latent.single_file import convert

    return convert(path)
