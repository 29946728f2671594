"""Files of latents: ``.safetensors`` or ``.npz``, with the record of how they were made."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.data.input_image import read_image_argument
from zoo_core.errors import OutputError
from zoo_core.files import write_atomically
from zoo_core.samples.kinds.arrays import encode_npz, read_npz
from zoo_core.samples.provenance import record_text

if TYPE_CHECKING:
    import torch

    from zoo_core.samples.record import Record

SUFFIXES = (".safetensors", ".npz")
NAME = "latents"
"""Name of the tensor or the array."""


def check_image(path: Path) -> None:
    """Raise OptionError if a file cannot be read as an image, before a model is loaded for it."""
    read_image_argument(path)


def check_latents_path(path: Path) -> None:
    """Raise OutputError if latents cannot be written there."""
    if path.suffix.lower() not in SUFFIXES:
        raise OutputError(f"{path}: latents are written as {' or '.join(SUFFIXES)}.", "Change the suffix.")
    if path.exists():
        raise OutputError(f"{path} already exists.", "Give another path, or remove it.")


def write_latents(path: Path, latents: torch.Tensor, record: Record) -> None:
    """Write latents (n, …) to a new file.

    Raises:
        FileExistsError: The path is taken; nothing was changed.
        OutputError: The suffix is none of SUFFIXES, or the file cannot be written.
    """
    check_latents_path(path)
    held = latents.detach().cpu().contiguous()
    if path.suffix.lower() == ".npz":
        write_atomically(path, encode_npz({NAME: held.numpy()}, record))
        return
    from safetensors.torch import save

    write_atomically(path, save({NAME: held}, {"record": record_text(record)}))


def read_latents(path: Path) -> torch.Tensor:
    """Return the latents (n, …) in a file.

    Raises:
        OutputError: It cannot be read, or holds no latents.
    """
    import torch

    suffix, remedy = path.suffix.lower(), "Make one: zoo encode MODEL IMAGE -o latents.safetensors"
    if not path.is_file():
        raise OutputError(f"There is no file {path}.", "Check the path.")
    if suffix == ".npz":
        found = read_npz(path)
        if NAME not in found or found[NAME].dtype.kind not in "fiu":
            raise OutputError(f"{path} holds no latents.", remedy)
        return torch.from_numpy(found[NAME])
    if suffix != ".safetensors":
        raise OutputError(f"{path} is no file of latents: they are {' or '.join(SUFFIXES)}.", remedy)
    from zoo_core.weights.reading import read_tensors

    tensors = read_tensors(path)
    if NAME not in tensors:
        raise OutputError(f"{path} holds no latents.", remedy)
    return tensors[NAME]
