"""Convert what others published: to a config and tensors by NVIDIA's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from zoo_core import Checkpoint, Conversion
from zoo_stylegan import nvidia
from zoo_stylegan.checkpoint import Config, read, to_json


def convert(path: Path) -> Conversion | None:
    """Return the generator in a file: a pickle of NVIDIA's, or a plain ``.pt`` with ``g_ema`` in it.

    Raises:
        WeightsError: The file is damaged, or its generator cannot be rebuilt; says why.
    """
    config: Config
    tensors: Mapping[str, Tensor]
    if path.suffix == ".pkl":
        config, tensors = nvidia.read(path)
    else:
        generator = read(Checkpoint(str(path), {path.name: path}, ""))
        config, tensors = generator.config, generator.state_dict()
    return Conversion(to_json(config), tensors)
