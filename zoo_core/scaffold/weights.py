"""Random weights for a new plugin, the same on every machine."""

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
    """Return the files of a new network's checkpoint by name, and the number of parameters."""
    from zoo_core.weights import save_checkpoint

    module_name, _, type_name = blueprint.network.partition(":")
    module = importlib.import_module(f"{MODULES}.{module_name}")
    config = module.Config(**blueprint.config)
    network = getattr(module, type_name)(config)
    initialise(network)
    with tempfile.TemporaryDirectory() as folder:
        save_checkpoint(Path(folder), config, network, model_type=names.model)
        files = {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}
    return files, sum(parameter.numel() for parameter in network.parameters())


def initialise(network: nn.Module) -> None:
    """Initialise matrices with normal numbers (He et al. 2015, arXiv:1502.01852) and biases with zero.

    The numbers come from the zoo's own random streams, one per parameter: no torch upgrade changes them.
    """
    import torch

    from zoo_core.noise import Noise

    with torch.no_grad():
        for number, (name, parameter) in enumerate(network.named_parameters()):
            if parameter.ndim > 1:
                std = math.sqrt(2 / math.prod(parameter.shape[1:]))
                parameter.copy_(std * Noise([number]).normal(*parameter.shape)[0])
            elif name.endswith("bias"):
                parameter.zero_()
