"""GigaGAN for the zoo: the hook implementations, importing nothing heavy."""

from __future__ import annotations

from types import SimpleNamespace
from typing import TYPE_CHECKING

from zoo_core import hookimpl

if TYPE_CHECKING:
    import torch

    from zoo_core import Checkpoint, Generator, ModelCard, Trainable, TrainerCard, TrainingData


@hookimpl
def zoo_create_generator(
    card: ModelCard, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None
) -> Generator:
    """Build the generator, or the upsampler, of a card or of a compatible checkpoint."""
    from zoo_gigagan.checkpoint import TEXT_TO_IMAGE

    if checkpoint.json("config.json").get("model_type") == TEXT_TO_IMAGE:
        from zoo_gigagan.generator import GigaGAN

        return GigaGAN(checkpoint, device, dtype)
    from zoo_gigagan.enlarging import AuraSR

    return AuraSR(checkpoint, device, dtype)


@hookimpl
def zoo_create_trainable(trainer: TrainerCard, options: SimpleNamespace, data: TrainingData) -> Trainable:
    """Build a fresh generator and the discriminator that it learns from."""
    from zoo_gigagan import training, upsampler_training

    if trainer.name == "gigagan-upsampler":
        return upsampler_training.create(options, data)
    return training.create(options, data)
