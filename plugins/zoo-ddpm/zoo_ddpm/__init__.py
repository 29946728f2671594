"""Denoising diffusion for the zoo: the hook implementations, importing nothing heavy."""

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
    """Build the diffusion sampler of a card or of a compatible checkpoint."""
    from zoo_ddpm.generator import load

    return load(checkpoint, device, dtype)


@hookimpl
def zoo_check_config(checkpoint: Checkpoint) -> None:
    """Refuse a model by its network's or its scheduler's config."""
    from zoo_ddpm.checkpoint import read
    from zoo_ddpm.sampling import read_schedule

    read_schedule(read(checkpoint).scheduler_config, f"{checkpoint.source}: scheduler_config.json")


@hookimpl
def zoo_convert_checkpoint(path: Path) -> Conversion | None:
    """Convert a network or a noisy classifier of OpenAI's, or a port of Ho et al.'s, told by its tensors."""
    from zoo_ddpm.single_file import convert

    return convert(path)


@hookimpl
def zoo_create_trainable(trainer: TrainerCard, options: Options, data: TrainingData) -> Trainable:
    """Build a fresh U-Net and the loss of Ho et al. 2020, Algorithm 1; or the student of a teacher."""
    if trainer.name == "consistency":
        from zoo_ddpm.distillation import create_consistency

        return create_consistency(options, data)
    from zoo_ddpm.training import create

    return create(options, data)
