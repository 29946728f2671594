"""Read tensors from a file, running nothing that the file says: safetensors, or pickle with an allow-list."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors in a ``.safetensors`` or ``.bin`` file by name, on the CPU.

    The file is mapped into memory where its format allows it: a tensor costs nothing until it is used.

    Raises:
        WeightsError: The file is missing or damaged, or a ``.bin`` holds more than tensors by name.
    """
    if not path.is_file():
        raise WeightsError(f"{path} is not a file.", "Get a complete copy of the checkpoint.")
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, "safetensors", error) from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    import torch

    with path.open("rb") as file:
        is_archive = file.read(4) == b"PK\x03\x04"
    if is_archive and not zipfile.is_zipfile(path):
        raise _damaged(path, "PyTorch", "its end is missing")
    try:
        # Only the archive format can be mapped; files from before PyTorch 1.6 are one plain stream.
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        if "nsupported" in str(error):
            raise WeightsError(
                f"{path} asks to run code when it is opened, so it was not opened.",
                f"If you trust where it is from: zoo convert {path} -o FOLDER",
            ) from error
        raise _damaged(path, "PyTorch", "its content ends too early or is no pickle") from error
    except (RuntimeError, EOFError, OSError, ValueError, KeyError) as error:
        raise _damaged(path, "PyTorch", error) from error
    if not isinstance(state, dict):
        raise _not_plain(path, f"a {type(state).__name__}")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise _not_plain(path, f"a {type(value).__name__} named {name!r}")
    return dict(state)


def _damaged(path: Path, kind: str, why: object) -> WeightsError:
    reason = str(why).splitlines()[0] if str(why) else type(why).__name__
    return WeightsError(f"{path} is not a whole {kind} file: {reason}.", "Get a fresh copy of the file.")


def _not_plain(path: Path, found: str) -> WeightsError:
    return WeightsError(
        f"{path} does not hold tensors by name alone: there is {found}.",
        f"Turn it into a checkpoint that can be run: zoo convert {path} -o FOLDER",
    )
