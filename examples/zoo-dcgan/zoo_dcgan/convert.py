"""Read a checkpoint of chien-liu/DCGAN-PyTorch: tensors alone, nothing in it is run."""

from __future__ import annotations

import zipfile
from pathlib import Path

from torch import Tensor

from zoo_core import Checkpoint, Conversion, WeightsError

ENTRY = "netG_state_dict"
"""Where such a file has the generator."""


def convert(path: Path) -> Conversion | None:
    """Return the generator in a file that ``torch.save`` wrote; None if it is not of this kind.

    Raises:
        WeightsError: The file is damaged, or asks for more than tensors.
    """
    if not zipfile.is_zipfile(path):
        return None
    tensors = Checkpoint(str(path), {"model.pt": path}, "").tensors("model", inside=ENTRY)
    if "main.0.weight" not in tensors:
        return None
    layers = _layers(tensors, path)
    config = {
        "model_type": "dcgan",
        "latent": layers[0].shape[0],
        "widths": [layer.shape[1] for layer in layers[:-1]],
        "channels": layers[-1].shape[1],
    }
    return Conversion(config, tensors)


def _layers(tensors: dict[str, Tensor], path: Path) -> list[Tensor]:
    """The kernels (in, out, 4, 4) of the transposed convolutions: every third member of the sequence."""
    count = sum(tensor.ndim == 4 for tensor in tensors.values())
    layers = [tensors.get(f"main.{3 * number}.weight") for number in range(count)]
    found = [layer for layer in layers if layer is not None and layer.ndim == 4]
    if len(found) < max(2, count):
        raise WeightsError(
            f"{path} holds a network that is not built like the DCGAN of the paper.",
            "Only the plain layout of chien-liu/DCGAN-PyTorch can be converted.",
        )
    return found
