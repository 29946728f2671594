"""Next-token prediction for the zoo: the hook implementations, importing nothing heavy."""

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
    """Build the generator of a card or of a compatible checkpoint: of images or of texts."""
    if card.output == "image" and any(name.startswith("vq") for name in checkpoint.files):
        from zoo_gpt.coded_images import LlamaGen

        return LlamaGen(checkpoint, device, dtype)
    if card.output == "image":
        from zoo_gpt.images import ImageGPT

        return ImageGPT(checkpoint, device, dtype)
    from zoo_gpt.generator import GPT

    return GPT(checkpoint, device, dtype)


@hookimpl
def zoo_create_trainable(trainer: TrainerCard, options: SimpleNamespace, data: TrainingData) -> Trainable:
    """Build a fresh transformer and the cross-entropy of the next token."""
    if trainer.name == "imagegpt":
        from zoo_gpt import image_training

        return image_training.create(options, data)
    from zoo_gpt import training

    return training.create(options, data)
