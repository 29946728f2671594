"""Read and write .npz and CSV files of numbers. Nothing in a file is executed, and sizes are limited."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OutputError
from zoo_core.samples.provenance import record_text

if TYPE_CHECKING:
    import numpy as np

    from zoo_core.samples.record import Record

    Arrays = dict[str, np.ndarray[Any, Any]]

MAX_BYTES = 2**30
"""Most bytes that an array or a CSV file may have."""


def encode_npz(arrays: Mapping[str, np.ndarray[Any, Any]], record: Record) -> bytes:
    """Return an .npz file; ``record`` is its record's JSON: ``numpy.load(file)["record"].item()``."""
    import numpy as np

    file = io.BytesIO()
    np.savez_compressed(file, allow_pickle=False, **arrays, record=np.bytes_(record_text(record).encode()))
    return file.getvalue()


def read_npz(path: Path) -> Arrays:
    """Return the arrays of a file; pickled objects are refused.

    Raises:
        OutputError: It is damaged, too large, or no .npz file.
    """
    import numpy as np

    try:
        with zipfile.ZipFile(path) as archive:
            if any(entry.file_size > MAX_BYTES for entry in archive.infolist()):
                raise OutputError(f"{path} is too large.", "Give a file that zoo wrote.")
        with np.load(path, allow_pickle=False) as found:
            return dict(found)
    except (OSError, ValueError, zipfile.BadZipFile, EOFError, zlib.error, RuntimeError) as error:
        raise OutputError(f"{path} cannot be read: {error}.", "Make the sample again.") from None


def read_csv(path: Path) -> tuple[list[str], list[list[str]]]:
    """Return the header and the rows, each as long as the header.

    Raises:
        OutputError: It cannot be read, or is no such file.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise OutputError(f"{path} is too large.", "Give a file that zoo wrote.")
        text = path.read_bytes().decode("utf-8", "surrogatepass")
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        if any(len(row) != len(header) for row in rows):
            raise ValueError("its rows differ in length")
        return header, rows
    except (OSError, ValueError, csv.Error) as error:
        raise OutputError(f"{path} cannot be read: {error}.", "Make the sample again.") from None
