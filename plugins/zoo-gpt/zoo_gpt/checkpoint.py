"""Read and write checkpoints in the layouts that transformers publishes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch

from zoo_core import Checkpoint, load_weights
from zoo_gpt.families import rename, transformer_config
from zoo_gpt.transformer import Transformer, TransformerConfig

STEMS = ("model", "pytorch_model")
"""What weights are called: safetensors by the first name, pickles by the second."""


@dataclass(frozen=True)
class Parts:
    """What a checkpoint says, all but its tensors."""

    config: TransformerConfig
    config_json: Mapping[str, Any]
    checkpoint: Checkpoint

    def build(self) -> Transformer:
        """Return the network with its weights, for evaluation, on the CPU and in the type its file has.

        Tensors stay mapped from the file: none takes memory before it is used.

        Raises:
            WeightsError: if tensors are missing, unexpected or of another shape.
        """
        checkpoint = self.checkpoint
        stem = next((s for s in STEMS if any(f.startswith(f"{s}.") for f in checkpoint.files)), STEMS[0])
        tensors = rename(self.config_json, checkpoint.tensors(stem))
        with torch.device("meta"):
            transformer = Transformer(self.config)
        # One type for all, for a mapped tensor of another is converted when it is loaded.
        dtype = next((tensor.dtype for tensor in tensors.values() if tensor.is_floating_point()), None)
        load_weights(transformer, tensors, checkpoint.source, dtype)
        return transformer.eval().requires_grad_(False)


def read(checkpoint: Checkpoint) -> Parts:
    """Read the config of a checkpoint.

    Raises:
        WeightsError: if it is of a family or has an option that zoo-gpt does not know.
    """
    config = checkpoint.json("config.json")
    return Parts(transformer_config(config, f"{checkpoint.source}: config.json"), config, checkpoint)
