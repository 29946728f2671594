"""Latent diffusion for the zoo: the hook implementations, importing nothing heavy."""

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
    """Build the pipeline of a card or of a compatible checkpoint; or an autoencoder on its own."""
    from zoo_latent.generator import LatentDiffusion
    from zoo_latent.reconstruction import Reconstruction, is_autoencoder

    if is_autoencoder(checkpoint):
        return Reconstruction(checkpoint, device, dtype)
    return LatentDiffusion(checkpoint, device, dtype)


@hookimpl
def zoo_convert_checkpoint(path: Path) -> Conversion | None:
    """Read a .ckpt file of the original implementation, without running anything in it."""
    from zoo_latent.single_file import convert

    return convert(path)


@hookimpl
def zoo_create_trainable(trainer: TrainerCard, options: Options, data: TrainingData) -> Trainable:
    """Build an untrained autoencoder, transformer on the latents of a trained one, or LoRA of a model."""
    if trainer.name == "lora":
        from zoo_latent.training.lora import create_lora

        return create_lora(options, data)
    if trainer.name == "dit":
        from zoo_latent.training.dit import create_dit

        return create_dit(options, data)
    if trainer.name == "dit-classes":
        from zoo_latent.training.dit_classes import create_dit_classes

        return create_dit_classes(options, data)
    from zoo_latent.training.autoencoder import create_autoencoder

    return create_autoencoder(options, data)
