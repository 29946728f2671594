"""Read tensors from a file without executing anything in it: safetensors, or pickle with an allow-list."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import WeightsError, short_repr
from zoo_core.weights.pickles import UnsafePickle, check_archive, check_plain

if TYPE_CHECKING:
    from torch import Tensor

_LFS_POINTER = b"version https://git-lfs.github.com/spec/"
_ARCHIVE = b"PK\x03\x04"
_PICKLE = b"\x80"
_CALLED = re.compile(r"GLOBAL (\S+)")
"""The function that torch.load refuses to call, in its message."""


def read_tensors(path: Path, inside: str | None = None) -> dict[str, Tensor]:
    """Return the tensors in a ``.safetensors``, ``.bin`` or ``.pt`` file by name, on the CPU.

    The file is mapped into memory where its format allows it: a tensor takes no memory until it is used.

    Args:
        path: The file.
        inside: The entry of a pickle that holds the tensors, if there is one; other entries are ignored.

    Raises:
        WeightsError: The file is missing or damaged, or a pickle holds more than tensors by name.
    """
    if not path.is_file():
        raise WeightsError(f"{path} is not a file.", "Get a complete copy of the checkpoint.")
    with path.open("rb") as file:
        start = file.read(len(_LFS_POINTER))
    if start == _LFS_POINTER:
        raise WeightsError(
            f"{path} is a Git LFS pointer, not the file itself.",
            f"Fetch the file: run git lfs pull in {path.parent}.",
        )
    return _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path, start, inside)


def tensor_names(path: Path) -> frozenset[str]:
    """Return the names of the tensors in a ``.safetensors`` file, from its header alone.

    Raises:
        WeightsError: The file is damaged, or is no such file.
    """
    return frozenset(tensor_shapes(path))


def tensor_shapes(path: Path) -> dict[str, tuple[int, ...]]:
    """Return the shape of each tensor in a ``.safetensors`` file, as :func:`tensor_names` does."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np") as file:
            return {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, "safetensors", error) from error


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise _damaged(path, "safetensors", error) from error


def _read_pickle(path: Path, start: bytes, inside: str | None) -> dict[str, Tensor]:
    import argparse
    import pickle
    import warnings

    import torch

    # Only the archive format can be mapped; files from before PyTorch 1.6 are one plain stream.
    is_archive = start.startswith(_ARCHIVE)
    try:
        if is_archive:
            check_archive(path)
        elif start.startswith(_PICKLE):
            check_plain(path)
    except UnsafePickle as error:
        raise _foreign(path, f"{error}, so it was not opened") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise _damaged(path, "PyTorch", error) from error
    try:
        # A Namespace is plain data: training scripts keep their arguments in one, beside the tensors.
        with warnings.catch_warnings(), torch.serialization.safe_globals([argparse.Namespace]):
            warnings.simplefilter("ignore")  # about pickle protocols that are then refused
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=is_archive)
    except pickle.UnpicklingError as error:
        if called := _CALLED.search(str(error)):
            raise _foreign(
                path, f"would call {short_repr(called[1])} when it is opened, so it was not opened"
            ) from error
        if start.startswith(_PICKLE):
            raise _foreign(path, "is a pickle of more than tensors, so it was not opened") from error
        raise _damaged(path, "PyTorch", "its first bytes are not those of one") from error
    except Exception as error:  # a damaged pickle can raise anything
        raise _damaged(path, "PyTorch", error) from error
    if isinstance(state, dict) and inside in state:
        state = state[inside]
        if isinstance(state, torch.Tensor):
            state = {inside: state}
    if not isinstance(state, dict):
        raise _foreign(path, f"holds a {type(state).__name__} instead of tensors by name")
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, torch.Tensor):
            raise _foreign(path, f"holds a {type(value).__name__} named {short_repr(name)} besides tensors")
        if value.layout != torch.strided or value.is_meta or value.nbytes > value.untyped_storage().nbytes():
            raise _foreign(path, f"claims more for the tensor {short_repr(name)} than it holds")
    return dict(state)


def _damaged(path: Path, kind: str, why: object) -> WeightsError:
    reason = str(why).strip().splitlines()[0] if str(why).strip() else "it is truncated"
    return WeightsError(
        f"{path} is damaged, or is no {kind} file: {reason.rstrip('.')[:200]}.",
        "Get a fresh copy of the file.",
    )


def _foreign(path: Path, what: str) -> WeightsError:
    return WeightsError(
        f"{path} {what}.", f"Convert it to a checkpoint that can be run: zoo convert {path} -o FOLDER"
    )
