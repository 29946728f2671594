"""Points: (count, dimensions), floats."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.samples.images import ANIMATIONS
from zoo_core.samples.kinds.arrays import encode_npz, read_csv, read_npz
from zoo_core.samples.kinds.kind import Kind, tensor_problem
from zoo_core.samples.match import Match, match_numbers
from zoo_core.samples.plot import box_of, scatter

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

    from zoo_core.samples.sample import Sample

ROUNDING = 1e-4
"""Difference that rounding alone explains, for values up to 1; for larger ones, as a share of the largest."""


class Points(Kind):
    """Points."""

    name = "points"
    suffixes = (".npz", ".csv")
    image_suffixes = (".png", *ANIMATIONS)

    def problem(self, rows: Any) -> str | None:
        """Require (n, count, dimensions)."""
        return tensor_problem(rows, "(n, count, dimensions)")

    def encode(self, sample: Sample, suffix: str) -> bytes:
        """Return an .npz file with ``points`` and ``record``, or a CSV file with a column per dimension."""
        points = _array(sample)
        if suffix == ".npz":
            return encode_npz({"points": points}, sample.record)
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(axis_names(points.shape[1]))
        writer.writerows(points)  # the shortest texts that give the same float32
        return file.getvalue().encode()

    def compare(self, path: Path, again: Sample) -> Match:
        """Compare coordinates."""
        import numpy as np

        old, new = read_points(path), _array(again)
        if old is None or old.shape != new.shape:
            return Match("different", "The numbers of points or dimensions differ.")
        largest = float(np.abs(old - new).max())
        return match_numbers(
            "points", largest, ROUNDING * max(1.0, float(np.abs(new).max())), f"{largest:.2g}"
        )

    def image(self, sample: Sample) -> Image:
        """Return the scatter plot of the first two dimensions, or the histogram of one."""
        points = _array(sample)
        return scatter(points, box_of([points]))

    def previews(self, rows: torch.Tensor) -> np.ndarray[Any, Any]:
        """Keep the points."""
        array: np.ndarray[Any, Any] = rows.detach().to("cpu").float().numpy().copy()
        return array

    def film(self, sample: Sample) -> Sequence[Image]:
        """Return scatter plots, all with the axes of the result, which do not depend on kept previews."""
        points = _array(sample)
        box = box_of([points])
        return [scatter(cloud, box) for cloud in (*sample.frames, points)]


def read_points(path: Path) -> np.ndarray[Any, Any] | None:
    """Return the points in an .npz or .csv file, (count, dimensions) float32; None if it has none.

    Raises:
        OutputError: The file cannot be read.
    """
    import numpy as np

    if path.suffix.lower() == ".npz":
        return read_npz(path).get("points")
    header, rows = read_csv(path)
    try:
        return np.array(rows, np.float32) if rows and header == list(axis_names(len(header))) else None
    except ValueError:
        return None


def axis_names(dimensions: int) -> Sequence[str]:
    """Return the names of the columns: x, y, z, or x1, x2, … for more than three dimensions."""
    return "xyz"[:dimensions] if dimensions <= 3 else [f"x{i + 1}" for i in range(dimensions)]


def _array(sample: Sample) -> np.ndarray[Any, Any]:
    assert sample.tensor is not None
    array: np.ndarray[Any, Any] = sample.tensor.numpy()
    return array
