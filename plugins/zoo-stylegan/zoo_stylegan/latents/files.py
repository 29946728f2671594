"""Read and write files of styles, as ``zoo invert`` makes them."""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from zoo_core import Checkpoint, OptionError, WeightsError, save_weights
from zoo_stylegan.formats.checkpoint import Config

NAME = "ws"
"""Name of the tensor in the file."""


def read_latent(path: str, config: Config) -> Tensor:
    """Read the styles in a file that :func:`write_latent` wrote, (1, layers, w_dim).

    Raises:
        OptionError: The file cannot be read, or its styles are for another model.
    """
    file = Path(path)
    if file.suffix != ".safetensors" or not file.is_file():
        raise OptionError(
            f"--latent {path} is not a file of styles.", "Give a .safetensors file that zoo invert wrote."
        )
    try:
        tensors = Checkpoint(path, {file.name: file}, "").tensors(file.stem)
    except WeightsError as error:
        raise OptionError(error.message, error.remedy) from error
    ws, shape = tensors.get(NAME), (1, config.layers, config.w_dim)
    if ws is None or ws.shape != shape:
        found = "none" if ws is None else f"shape {tuple(ws.shape)}"
        raise OptionError(
            f"--latent {path} has no styles for this model: expected shape {shape}, found {found}.",
            "Give a file that zoo invert wrote for this model.",
        )
    return ws


def write_latent(path: Path, ws: Tensor) -> None:
    """Write styles (1, layers, w_dim) to a ``.safetensors`` file."""
    save_weights(path, {NAME: ws.float().cpu()})
