"""Convert published files to a config and tensors with NVIDIA's names."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from zoo_core import Checkpoint, Conversion, WeightsError
from zoo_stylegan.formats import nvidia, plain
from zoo_stylegan.formats.checkpoint import Config, Generator, build_generator, load_generator, to_json


def convert(path: Path) -> Conversion | None:
    """Convert the generator in one of NVIDIA's pickles, or in a plain ``.pt`` file with ``g_ema``.

    Returns:
        None for a ``.pt`` file of another network.

    Raises:
        WeightsError: The file is damaged, or its generator cannot be rebuilt; says why.
    """
    config: Config
    tensors: Mapping[str, Tensor]
    if path.suffix == ".pkl":
        config, tensors = nvidia.read_pickle(path)
        build_generator(config, tensors, str(path))  # refuses what could not be loaded again
    else:
        generator = _load_plain(path)
        if generator is None:
            return None
        config, tensors = generator.config, generator.state_dict()
    return Conversion(to_json(config), tensors)


def _load_plain(path: Path) -> Generator | None:
    checkpoint = Checkpoint(str(path), {path.name: path}, "")
    try:
        if not any(name.startswith(plain.MARKS) for name in checkpoint.tensors(path.stem, "g_ema")):
            return None
        return load_generator(checkpoint)
    except WeightsError as error:
        if "zoo convert" not in error.remedy:
            raise
        # The reader's remedy is this very command.
        raise WeightsError(
            error.message,
            "Save the generator's tensors alone: torch.save({'g_ema': model.state_dict()}, FILE). "
            "Of NVIDIA's networks, convert the .pkl, which has the settings.",
        ) from error
