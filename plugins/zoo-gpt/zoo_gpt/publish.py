"""Write a checkpoint in the layout of a published family, which other software reads too."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from zoo_core import save_weights
from zoo_gpt.families import FAMILIES, transformer_config
from zoo_gpt.transformer import Transformer


def write(folder: Path, transformer: Transformer, config: Mapping[str, Any], dtype: torch.dtype) -> None:
    """Write config.json and model.safetensors, the weights in ``dtype`` and last.

    Args:
        folder: Where; it is made if need be.
        transformer: The network.
        config: What config.json is to say; it describes the network.
        dtype: The type of the weights.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = {**config, "torch_dtype": str(dtype).removeprefix("torch.")}
    (folder / "config.json").write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    tensors = {name: tensor.to("cpu", dtype) for name, tensor in transformer.state_dict().items()}
    save_weights(folder / "model.safetensors", published(config, tensors), {"format": "pt"})


def published(config: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our tensors under the family's names and in its shapes: ``families.rename`` backwards.

    Any family but gpt_neox, which has queries, keys and values in an order of its own.
    """
    shape = transformer_config(config, "config.json")
    family = FAMILIES[config["model_type"]]
    theirs = {ours: name for name, ours in family.names.items()}
    renamed = {}
    for name, tensor in tensors.items():
        module, _, kind = name.rpartition(".")
        layer = re.search(r"\.(\d+)\.", module)
        pattern = re.sub(r"\.\d+\.", ".*.", module, count=1)
        if pattern in theirs:
            parts = {pattern: tensor}
        else:  # queries, keys and values, which this family keeps apart
            rows = [heads * shape.head_dim for heads in (shape.heads, shape.kv_heads, shape.kv_heads)]
            names = [pattern.removesuffix("qkv") + part for part in "qkv"]
            parts = dict(zip(names, torch.split(tensor, rows), strict=True))
        for ours, part in parts.items():
            prefix = "" if ours == "head" else family.prefix
            their_name = theirs[ours].replace("*", layer[1]) if layer else theirs[ours]
            turned = family.transposed and part.dim() == 2 and layer
            renamed[f"{prefix}{their_name}.{kind}"] = (part.T if turned else part).contiguous()
    return renamed
