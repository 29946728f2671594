"""Next-token prediction for the zoo: the hooks, which import nothing heavy before they are called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from zoo_core import OptionError, hookimpl

if TYPE_CHECKING:
    import torch

    from zoo_core import (
        Checkpoint,
        Generator,
        ModelCard,
        Options,
        TokenMasks,
        Trainable,
        TrainerCard,
        TrainingData,
        Vocabulary,
    )


@hookimpl
def zoo_create_generator(
    card: ModelCard, checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None
) -> Generator:
    """Return a generator for a card or a compatible checkpoint: LlamaGen, ImageGPT, or GPT for texts."""
    if checkpoint.source == "embedded":
        checkpoint = replace(checkpoint, source=card.id)  # the name of the model, for messages
    if card.output == "image" and any(name.startswith("vq") for name in checkpoint.files):
        from zoo_gpt.llamagen.generator import LlamaGen

        if checkpoint.adapter is not None:
            raise OptionError("LlamaGen takes no adapter.", "Leave out the adapter.")
        return LlamaGen(checkpoint, device, dtype)
    if card.output == "image":
        from zoo_gpt.imagegpt.generator import ImageGPT

        return ImageGPT(checkpoint, device, dtype)
    from zoo_gpt.gguf.checkpoint import GGUFCheckpoint, is_gguf
    from zoo_gpt.text import generator

    if is_gguf(checkpoint.files):
        checkpoint = GGUFCheckpoint.of(checkpoint)
    return generator.create(checkpoint, device, dtype)


@hookimpl(trylast=True)
def zoo_create_token_masks(language: str, source: str, vocabulary: Vocabulary) -> TokenMasks:
    """Return the masks of a JSON schema, a regular expression or a grammar."""
    from zoo_gpt.text.constraints import create_token_masks

    return create_token_masks(language, source, vocabulary)


@hookimpl
def zoo_check_config(card: ModelCard, checkpoint: Checkpoint, read: Callable[[str, int, int], bytes]) -> None:
    """Refuse a model by its config.json or its GGUF header, and a language model without a tokenizer."""
    from zoo_gpt.gguf.checkpoint import GGUFCheckpoint, is_gguf

    files = getattr(card.weights, "files", ())
    if is_gguf([file.name for file in files]):
        GGUFCheckpoint.remote(checkpoint.source, files, read).check()
        return
    config = checkpoint.json("config.json") if checkpoint.has("config.json") else {}
    if config.get("model_type") in (None, "llamagen"):
        return
    from zoo_gpt.network.checkpoint import transformer_config

    transformer_config(config, f"{checkpoint.source}: config.json")
    if card.output == "text":
        from zoo_gpt.text.tokenizer import check_files

        check_files({file.name for file in files}, checkpoint)


@hookimpl
def zoo_create_trainable(trainer: TrainerCard, options: Options, data: TrainingData) -> Trainable:
    """Return an untrained transformer with its loss, the cross-entropy of the next token."""
    if trainer.name == "imagegpt":
        from zoo_gpt.imagegpt.training import create

        return create(options, data)
    from zoo_gpt.text import training

    return training.create(options, data)
