"""Tables: columns of numbers or texts by name, all of one length."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.samples.kinds.arrays import encode_npz, read_csv, read_npz
from zoo_core.samples.kinds.kind import Kind
from zoo_core.samples.kinds.points import ROUNDING
from zoo_core.samples.match import Match, match_numbers
from zoo_core.samples.plot import histograms

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo_core.samples.sample import Sample

Columns = Mapping[str, Sequence[float | int | str]]


class Table(Kind):
    """Tables."""

    name = "table"
    suffixes = (".csv", ".npz")

    def problem(self, rows: Any) -> str | None:
        """Require columns of one length, each of finite numbers or of texts."""
        if not isinstance(rows, Sequence) or isinstance(rows, str):
            return f"a {type(rows).__name__} where a tuple of tables belongs"
        return next((wrong for row in rows if (wrong := _table_problem(row))), None)

    def encode(self, sample: Sample, suffix: str) -> bytes:
        """Return a CSV file, or an .npz file with an array per column and ``record``."""
        import numpy as np

        columns = _columns(sample)
        if suffix == ".npz":
            return encode_npz({name: np.array(values) for name, values in columns.items()}, sample.record)
        file = io.StringIO()
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))
        return file.getvalue().encode("utf-8", "surrogatepass")

    def compare(self, path: Path, again: Sample) -> Match:
        """Compare cells: numbers by value, texts by characters."""
        new = _columns(again)
        if path.suffix.lower() == ".npz":
            old: Mapping[str, Sequence[Any]] = {
                name: array.tolist() for name, array in read_npz(path).items() if name != "record"
            }
        else:
            header, rows = read_csv(path)
            old = dict(zip(header, zip(*rows, strict=True), strict=True))
        if list(old) != list(new) or any(len(old[name]) != len(new[name]) for name in new):
            return Match("different", "The tables differ in columns or length.")
        largest = scale = 0.0
        for name, values in new.items():
            for was, value in zip(old[name], values, strict=True):
                if isinstance(value, str):
                    if was != value:
                        return Match("different", f"The tables differ in the column {name!r}.")
                    continue
                largest = max(largest, abs(float(was) - value))
                scale = max(scale, abs(value))
        return match_numbers("tables", largest, ROUNDING * max(1.0, scale), f"{largest:.2g}")

    def image(self, sample: Sample) -> Image:
        """Return a histogram of each column."""
        return histograms(_columns(sample))


def _columns(sample: Sample) -> Columns:
    assert sample.table is not None
    return sample.table


def _table_problem(table: object) -> str | None:
    import math

    if not isinstance(table, Mapping) or not table:
        return f"a {type(table).__name__} where the columns of a table belong"
    if len({len(values) for values in table.values()}) != 1:
        return "columns of different lengths"
    for name, values in table.items():
        if not isinstance(name, str) or name == "record":
            return f"a column named {name!r}"
        kinds = {str if isinstance(value, str) else float for value in values}
        if len(kinds) != 1:
            return f"the column {name!r}, which has no rows or both numbers and texts"
        if kinds == {float} and not all(
            isinstance(value, int | float) and math.isfinite(value) for value in values
        ):
            return f"the column {name!r} with a value that is no finite number"
    return None
