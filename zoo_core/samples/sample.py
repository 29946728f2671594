"""A sample: an image, a text or another kind of output, with its record."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OutputError
from zoo_core.samples.images import to_bytes
from zoo_core.samples.kinds import KINDS
from zoo_core.samples.record import Record

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

    from zoo_core.samples.kinds.tables import Columns

__all__ = ["Record", "Sample", "to_bytes"]


@dataclass(frozen=True, eq=False)
class Sample:
    """What :meth:`zoo_core.Model.generate` yields."""

    record: Record
    index: int
    """Position in the run, from 0."""
    tensor: torch.Tensor | None = None
    """An image (c, h, w) or a video (frames, c, h, w), floats in [-1, 1]; audio (channels, length), floats in
    [-1, 1]; points (count, dimensions). None for texts and tables."""
    text: str | None = None
    table: Columns | None = None
    """Columns by name, of numbers or texts, all of one length."""
    rate: float | None = None
    """Of audio, the sampling rate in Hz; of a video, frames per second."""
    frames: tuple[np.ndarray[Any, Any], ...] = ()
    """Previews in order, without the result: of images as ``to_bytes`` returns them, of points themselves."""

    @property
    def seed(self) -> int:
        """The seed of the sample's noise stream."""
        return self.record.seed

    @property
    def kind(self) -> str:
        """The kind of output: ``image``, ``text``, ``audio``, ``video``, ``points`` or ``table``."""
        return self.record.output

    @property
    def image(self) -> Image:
        """The image in 8 bits, as a file holds it: mode L, RGB or RGBA for 1, 3 or 4 channels.

        A value x becomes level round(127.5 (x + 1)), ties to even, clamped to 0…255. Of other kinds, what
        shows the sample: the waveform of audio, frames of a video, a plot of points or a table.

        Raises:
            OutputError: The sample is a text, or the image contains NaN.
        """
        if self.text is not None:
            raise OutputError("The sample is a text, not an image.", "Read sample.text.")
        return KINDS[self.kind].image(self)

    def _repr_html_(self) -> str:
        """Show the sample in a notebook: an image, the film of kept steps, a text, a player."""
        from zoo_core.samples.notebook import sample_html

        return sample_html(self)

    def _repr_png_(self) -> bytes | None:
        """Return what shows the sample as a PNG; None for a text."""
        from zoo_core.samples.notebook import png

        return None if self.text is not None else png(self.image)

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


class Samples(list[Sample]):
    """A list of samples, which a notebook shows as a grid."""

    def _repr_html_(self) -> str:
        from zoo_core.samples.notebook import samples_html

        return samples_html(self)
