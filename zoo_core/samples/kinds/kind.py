"""What the core must know about a kind of output: its formats, its checks, and how it is shown."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OutputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

    from zoo_core.samples.match import Match
    from zoo_core.samples.sample import Sample


class Kind(ABC):
    """A kind of output. The rows of a step are its samples."""

    name: str
    suffixes: tuple[str, ...]
    """The formats of its files; the first is that of folders."""
    image_suffixes: tuple[str, ...] = (".png",)
    """Formats of an image that shows a sample (a waveform, a plot): it has the record, but not the sample.
    With animations among them, steps are kept and shown as a film."""

    needs_rate: bool = False
    """True if its steps need a ``rate``."""

    @abstractmethod
    def problem(self, rows: Any) -> str | None:
        """Return what is wrong with a step's rows, as the end of "it made …"; None if they can be written."""

    def out_of_range(self, rows: Any) -> str | None:
        """Return which values are outside of the range that the kind promises; they are clipped in files."""
        return None

    @abstractmethod
    def encode(self, sample: Sample, suffix: str) -> bytes:
        """Return the content of its file, one of ``suffixes``."""

    @abstractmethod
    def compare(self, path: Path, again: Sample) -> Match:
        """Compare a file, one of ``suffixes``, with its sample made again, in what the format keeps of it.

        Raises:
            OutputError: The file cannot be read.
        """

    def image(self, sample: Sample) -> Image:
        """Return the image that shows a sample: itself, a waveform, a plot.

        Raises:
            OutputError: It has none.
        """
        raise OutputError(f"A {self.name} sample has no image.", "Write it to a folder: -o out/")

    def previews(self, rows: torch.Tensor) -> np.ndarray[Any, Any]:
        """Return what is kept of a step's rows, for :meth:`film`."""
        raise NotImplementedError

    def film(self, sample: Sample) -> Sequence[Image]:
        """Return images of a sample's kept previews and of the result; only for kinds with animations."""
        raise NotImplementedError


def tensor_problem(rows: Any, shape: str) -> str | None:
    """Return what is wrong with rows that should be a finite tensor of floats.

    Args:
        rows: What a step has.
        shape: Its dimensions in words: ``(n, channels, length)``.
    """
    import torch

    if not isinstance(rows, torch.Tensor):
        return f"a {type(rows).__name__} where a tensor belongs"
    if rows.ndim != shape.count(",") + 1 or 0 in rows.shape:
        return f"a tensor of shape {tuple(rows.shape)}, not {shape}"
    if not rows.is_floating_point():
        return f"{rows.dtype} where floats belong"
    return None


def unit_range_problem(rows: torch.Tensor) -> str | None:
    """Return the largest absolute value if it is above 1."""
    largest = rows.abs().max().item()
    return f"outside [-1, 1]: the largest absolute value is {largest:g}" if largest > 1 else None


def needs(extra: str, library: str) -> OutputError:
    """Return the error for a library that is not installed."""
    return OutputError(
        f"Writing {extra} needs {library}, which is not installed.",
        f"Install it: pip install 'zoo-core[{extra}]'",
    )
