"""Read and write files of styles: those of ``zoo invert`` and of NVIDIA's projector."""

from __future__ import annotations

import io
import json
import math
import zipfile
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from zoo_core import Checkpoint, OptionError, Record, WeightsError, save_weights
from zoo_stylegan.formats.checkpoint import Config

NAME = "ws"
"""Name of the tensor in a file of ``zoo invert``."""
NVIDIA_NAME = "w.npy"
"""Name of the array in projected_w.npz, as NVIDIA's projector.py writes it."""
MAX_HEADER = 4096
"""Limit of the bytes of an .npy file before its values."""


def read_latent(path: str, config: Config) -> Tensor:
    """Read the styles in a file that :func:`write_latent` or NVIDIA's projector wrote, (1, layers, w_dim).

    Raises:
        OptionError: The file cannot be read, or its styles are for another model.
    """
    file = Path(path)
    if not file.exists():
        raise OptionError(f"--latent: there is no file {path}.", "Check the path.")
    if file.suffix not in (".safetensors", ".npz") or not file.is_file():
        raise OptionError(
            f"--latent {path} is not a file of styles.",
            "Give a .safetensors file that zoo invert wrote, or a projected_w.npz of NVIDIA's projector.",
        )
    shape = (1, config.layers, config.w_dim)
    if file.suffix == ".npz":
        return _read_npz(path, shape)
    try:
        ws = Checkpoint(path, {file.name: file}, "").tensors(file.stem).get(NAME)
    except WeightsError as error:
        raise OptionError(error.message, error.remedy) from error
    if ws is None or ws.shape != shape:
        raise _wrong_shape(path, shape, None if ws is None else tuple(ws.shape))
    return ws


def _read_npz(path: str, shape: tuple[int, ...]) -> Tensor:
    """Read the array ``w`` of an .npz archive, without pickle and never more than it must have."""
    limit = MAX_HEADER + 8 * math.prod(shape)
    try:
        with zipfile.ZipFile(path) as archive, archive.open(NVIDIA_NAME) as member:
            file = io.BytesIO(member.read(limit + 1))
        version = np.lib.format.read_magic(file)
        read_header = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[version]
        found, is_fortran, dtype = read_header(file)
        if dtype.kind != "f" or is_fortran:
            raise ValueError("w is not an array of numbers in C order")
        if found not in (shape, shape[1:]):
            raise _wrong_shape(path, shape, found)
        values = np.frombuffer(file.read(), dtype, math.prod(shape))
        return torch.from_numpy(values.astype(np.float32)).view(shape)
    except OptionError:
        raise
    except Exception as error:  # a damaged archive can raise any exception
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise OptionError(
            f"--latent {path} cannot be read as styles: {reason.rstrip('.')}.",
            "Give a .safetensors file that zoo invert wrote, or a projected_w.npz of NVIDIA's projector.",
        ) from error


def _wrong_shape(path: str, expected: tuple[int, ...], found: tuple[int, ...] | None) -> OptionError:
    what = "none" if found is None else f"shape {found}"
    return OptionError(
        f"--latent {path} has no styles for this model: expected shape {expected}, found {what}.",
        "Give a file that zoo invert wrote for this model.",
    )


def write_latent(path: Path, ws: Tensor, record: Record | None = None) -> None:
    """Write styles (1, layers, w_dim) to a ``.safetensors`` file, with the record in its metadata."""
    metadata = {} if record is None else {"zoo": json.dumps(record.to_json(), allow_nan=False)}
    save_weights(path, {NAME: ws.float().cpu()}, metadata)
