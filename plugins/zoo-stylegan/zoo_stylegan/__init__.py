"""StyleGAN2 and StyleGAN3 for the zoo: the hook implementations, importing nothing heavy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from zoo_core import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from zoo_core import Checkpoint, Conversion, Generator, ModelCard, Trainable, TrainerCard, TrainingData


@hookimpl
def zoo_create_generator(
    card: ModelCard, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None
) -> Generator:
    """Build the generator of a card or of a compatible checkpoint."""
    from zoo_stylegan.generator import StyleGAN

    return StyleGAN(checkpoint, device, dtype)


@hookimpl
def zoo_convert_checkpoint(path: Path) -> Conversion | None:
    """Read the generator out of NVIDIA's pickles and of plain ``.pt`` files."""
    from zoo_stylegan.convert import convert

    return convert(path)


@hookimpl
def zoo_create_trainable(trainer: TrainerCard, options: SimpleNamespace, data: TrainingData) -> Trainable:
    """Build a fresh generator and the discriminator that it learns from."""
    from zoo_stylegan.training import create

    return create(options, data)
