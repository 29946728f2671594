"""DCGAN for the zoo: the hook implementations, importing nothing heavy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from zoo_core import hookimpl

if TYPE_CHECKING:
    from pathlib import Path

    import torch

    from zoo_core import Checkpoint, Conversion, Generator


@hookimpl
def zoo_create_generator(
    checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype | None
) -> Generator:
    """Load the generator of a model or of a converted checkpoint."""
    from zoo_dcgan.generator import DCGAN

    return DCGAN(checkpoint, device, dtype)


@hookimpl
def zoo_convert_checkpoint(path: Path) -> Conversion | None:
    """Read the generator from a checkpoint of chien-liu/DCGAN-PyTorch."""
    from zoo_dcgan.convert import convert

    return convert(path)
