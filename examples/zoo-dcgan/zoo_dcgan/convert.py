"""Read a checkpoint of chien-liu/DCGAN-PyTorch: only tensors are read, and no code in it is run."""

from __future__ import annotations

import zipfile
from pathlib import Path

from torch import Tensor

from zoo_core import Checkpoint, Conversion, WeightsError

ENTRY = "netG_state_dict"
"""Key of the generator in such a file."""


def convert(path: Path) -> Conversion | None:
    """Return the generator in a file of ``torch.save``; None if the file is of another kind.

    Raises:
        WeightsError: The file is damaged, holds more than tensors, or another architecture.
    """
    if not zipfile.is_zipfile(path):
        return None
    tensors = Checkpoint(str(path), {"model.pt": path}, "").tensors("model", inside=ENTRY)
    if "main.0.weight" not in tensors:
        return None
    kernels = _kernels(tensors, path)
    config = {
        "model_type": "dcgan",
        "latent": kernels[0].shape[0],
        "widths": [kernel.shape[1] for kernel in kernels[:-1]],
        "channels": kernels[-1].shape[1],
    }
    return Conversion(config, tensors)


def _kernels(tensors: dict[str, Tensor], path: Path) -> list[Tensor]:
    """Return the kernels (in, out, 4, 4) of the transposed convolutions, every third module of ``main``."""
    count = sum(tensor.ndim == 4 for tensor in tensors.values())
    layers = [tensors.get(f"main.{3 * number}.weight") for number in range(count)]
    found = [layer for layer in layers if layer is not None and layer.ndim == 4]
    if len(found) < max(2, count):
        raise WeightsError(
            f"{path} holds a network that is not the DCGAN of the paper.",
            "Give a weights.tar that chien-liu/DCGAN-PyTorch wrote, with its network unchanged.",
        )
    return found
