"""Real-ESRGAN for the zoo: the hook implementations, importing nothing heavy."""

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
    """Load an upscaler."""
    from zoo_esrgan.generator import ESRGAN

    return ESRGAN(checkpoint, device, dtype)


@hookimpl
def zoo_convert_checkpoint(path: Path) -> Conversion | None:
    """Read the pair of files that ncnn has for a network: layers in ``.param``, weights in ``.bin``."""
    from zoo_esrgan.ncnn_files import convert

    return convert(path)
