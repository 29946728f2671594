"""A sample: one image or text with its record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OutputError
from zoo_core.samples.images import to_bytes, to_image
from zoo_core.samples.record import Record

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

__all__ = ["Record", "Sample", "to_bytes"]


@dataclass(frozen=True, eq=False)
class Sample:
    """What :meth:`zoo_core.Model.generate` yields."""

    record: Record
    index: int
    """Position in the run, from 0."""
    tensor: torch.Tensor | None = None
    """The image as a tensor (c, h, w), floats in [-1, 1]; c is 1, 3 or 4. None for a text."""
    text: str | None = None
    frames: tuple[np.ndarray[Any, np.dtype[np.uint8]], ...] = ()
    """Previews in order, without the result, as ``to_bytes`` returns them."""

    @property
    def seed(self) -> int:
        """The seed of the sample's noise stream."""
        return self.record.seed

    @property
    def image(self) -> Image:
        """The image in 8 bits, as a file holds it: mode L, RGB or RGBA for 1, 3 or 4 channels.

        A value x becomes level round(127.5 (x + 1)), ties to even, clamped to 0…255.

        Raises:
            OutputError: The sample is a text, or the image contains NaN.
        """
        if self.tensor is None:
            raise OutputError("The sample is a text, not an image.", "Read sample.text.")
        return to_image(to_bytes(self.tensor))

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write the sample with its record, atomically.

        Args:
            path: A file, whose suffix says the format; or a folder (it exists, ends with a slash, or has no
                suffix), where the sample gets a name that no other sample has: ``seed0007.png``.
            overwrite: Replace a file that holds something else.

        Returns:
            The file's path.

        Raises:
            OutputError: The file exists and holds something else, or cannot be written.
        """
        from zoo_core.samples import save

        return save(self, path, overwrite=overwrite)
