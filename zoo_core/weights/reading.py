"""Read tensors from a file, running nothing that the file says: safetensors, or pickle with an allow-list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_ARCHIVE = b"PK\x03\x04"
_PICKLE = b"\x80"
_CALLED = re.compile(r"GLOBAL (\S+)")
"""How torch.load names what a file wants called that is not on its list."""


def read_tensors(path: Path, inside: str | None = None) -> dict[str, Tensor]:
    """Return the tensors in a ``.safetensors``, ``.bin`` or ``.pt`` file by name, on the CPU.

    The file is mapped into memory where its format allows it: a tensor costs nothing until it is used.

    Args:
        path: The file.
        inside: The entry of a pickle that holds the tensors, if it has it; what else it holds is left alone.

    Raises:
        WeightsError: The file is missing or damaged, or a pickle holds more than tensors by name.
    """
    if not path.is_file():
        raise WeightsError(f"{path} is not a file.", "Get a complete copy of the checkpoint.")
    with path.open("rb") as file:
        start = file.read(len(_LFS_POINTER))
    if start == _LFS_POINTER:
        raise WeightsError(
            f"{path} is a Git LFS pointer: it only names the file that belongs there.",
            f"Fetch it: git lfs pull, in {path.parent}.",
        )
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path, start, inside)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, "safetensors", error) from error


def _read_pickle(path: Path, start: bytes, inside: str | None) -> dict[str, Tensor]:
    import pickle
    import warnings

    import torch

    # Only the archive format can be mapped; files from before PyTorch 1.6 are one plain stream.
    is_archive = start.startswith(_ARCHIVE)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about pickle protocols that are then refused
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        if called := _CALLED.search(str(error)):
            raise _foreign(
                path, f"asks to call {called[1]} when it is opened, so it was not opened"
            ) from error
        if start.startswith(_PICKLE):
            raise _foreign(path, "is a pickle, but not one of tensors alone, so it was not opened") from error
        raise _damaged(path, "PyTorch", "it does not begin like one") from error
    except Exception as error:  # a damaged pickle trips the reader up in every way there is
        raise _damaged(path, "PyTorch", error) from error
    if isinstance(state, dict) and inside in state:
        state = state[inside]
    if not isinstance(state, dict):
        raise _foreign(path, f"holds a {type(state).__name__} in place of tensors by name")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise _foreign(path, f"holds a {type(value).__name__} named {name!r} beside tensors")
    return dict(state)


def _damaged(path: Path, kind: str, why: object) -> WeightsError:
    reason = str(why).strip().splitlines()[0] if str(why).strip() else "it ends too early"
    return WeightsError(
        f"{path} is not a whole {kind} file: {reason.rstrip('.')}.", "Get a fresh copy of the file."
    )


def _foreign(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path} {what}.", f"Make a checkpoint of it that can be run: zoo convert {path} -o FOLDER"
    )
