"""The first weights of a new plugin: a network of small random numbers, the same on every machine."""

from __future__ import annotations

import importlib
import math
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.scaffold.blueprints import Blueprint
from zoo_core.scaffold.names import Names

if TYPE_CHECKING:
    from torch import nn

MODULES = "zoo_core.scaffold.modules"


def first_weights(blueprint: Blueprint, names: Names) -> tuple[dict[str, bytes], int]:
    """The checkpoint of a fresh network by file name, and how many parameters it has."""
    checkpoint = importlib.import_module(f"{MODULES}.checkpoint")
    module_name, _, type_name = blueprint.network.partition(":")
    module = importlib.import_module(f"{MODULES}.{module_name}")
    network = getattr(module, type_name)(module.Config(**blueprint.config))
    initialise(network)
    with tempfile.TemporaryDirectory() as folder:
        checkpoint.write(Path(folder), network)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    files["config.json"] = files["config.json"].replace(checkpoint.MODEL_TYPE.encode(), names.model.encode())
    return files, sum(parameter.numel() for parameter in network.parameters())


def initialise(network: nn.Module) -> None:
    """Fill every matrix with normals that keep the spread of what passes through, and leave the rest.

    They are drawn from the zoo's own streams, one per parameter, whose numbers no upgrade of torch changes;
    biases are zero.
    """
    import torch

    from zoo_core.noise import Noise

    with torch.no_grad():
        for number, (name, parameter) in enumerate(network.named_parameters()):
            if parameter.ndim > 1:
                spread = math.sqrt(2 / math.prod(parameter.shape[1:]))
                parameter.copy_(spread * Noise([number]).normal(*parameter.shape)[0])
            elif name.endswith("bias"):
                parameter.zero_()
