"""StyleGAN2 and StyleGAN3 for the zoo: the hook implementations, importing nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from zoo_core import (
        Checkpoint,
        Conversion,
        Generator,
        ModelCard,
        Options,
        Trainable,
        TrainerCard,
        TrainingData,
    )


@hookimpl
def zoo_create_generator(
    card: ModelCard, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None
) -> Generator:
    """Load the generator of a card or of a compatible checkpoint."""
    from zoo_stylegan.generator import StyleGAN

    return StyleGAN(checkpoint, device, dtype)


@hookimpl
def zoo_convert_checkpoint(path: Path) -> Conversion | None:
    """Convert the generator in one of NVIDIA's pickles or in a plain ``.pt`` file."""
    from zoo_stylegan.formats.convert import convert

    return convert(path)


@hookimpl
def zoo_create_trainable(trainer: TrainerCard, options: Options, data: TrainingData) -> Trainable:
    """Build a new generator and discriminator to train."""
    from zoo_stylegan.training import create_trainable

    return create_trainable(options, data)
