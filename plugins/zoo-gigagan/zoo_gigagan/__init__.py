"""GigaGAN for the zoo: the hook implementations, importing nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import hookimpl

if TYPE_CHECKING:
    import torch

    from zoo_core import Checkpoint, Generator, ModelCard, Options, Trainable, TrainerCard, TrainingData


@hookimpl
def zoo_create_generator(
    card: ModelCard, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None
) -> Generator:
    """Load a text-to-image generator or an upsampler, whichever the checkpoint's ``model_type`` names."""
    if checkpoint.json("config.json").get("model_type") == "gigagan-text-to-image":
        from zoo_gigagan.text_to_image.generator import GigaGAN

        return GigaGAN(checkpoint, device, dtype)
    from zoo_gigagan.upsampler.upscaler import AuraSR

    return AuraSR(checkpoint, device, dtype)


@hookimpl
def zoo_create_trainable(trainer: TrainerCard, options: Options, data: TrainingData) -> Trainable:
    """Build a generator or an upsampler to train, with its discriminator."""
    if trainer.name == "gigagan-upsampler":
        from zoo_gigagan.upsampler import training as upsampler_training

        return upsampler_training.create_trainable(options, data)
    from zoo_gigagan.text_to_image import training

    return training.create_trainable(options, data)
