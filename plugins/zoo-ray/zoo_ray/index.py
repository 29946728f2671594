"""The index of a run: a table of its samples in Parquet, written in parts while workers write samples."""

from __future__ import annotations

import heapq
import io
import json
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core import Row, ZooError, write_atomically

if TYPE_CHECKING:
    import pyarrow as pa  # type: ignore[import-untyped]

NAME = "index.parquet"
PARTS = "index-parts"
_ROWS = 1024
"""Rows of a group in the file."""


class ParquetIndex:
    """``FOLDER/index.parquet`` with a row for each sample, in the order of the run.

    Columns: index (position in the run), file, seed, prompt, and record (the whole record, as JSON). While
    the run goes on, each task writes its rows to ``FOLDER/index-parts/``, after its samples.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._parts = folder / PARTS

    def add(self, rows: list[Row]) -> None:
        """Write the rows of a task, which are sorted by position."""
        import pyarrow.parquet as pq  # type: ignore[import-untyped]

        if not rows:
            return
        file = io.BytesIO()
        pq.write_table(_table(rows), file)
        path = self._parts / f"{rows[0].index:012d}-{secrets.token_hex(4)}.parquet"
        write_atomically(path, file.getvalue(), overwrite=True)

    def rows(self) -> Iterator[Row]:
        """Yield all rows."""
        for path in [*self._part_files(), self._folder / NAME]:
            yield from _read(path)

    def finish(self) -> None:
        """Write the one file from the parts, and remove them. The compressed table is in memory."""
        import pyarrow.parquet as pq

        parts = self._part_files()
        if not parts:
            return
        file = io.BytesIO()
        with pq.ParquetWriter(file, _schema(), compression="zstd") as writer:
            group: list[Row] = []
            for row in self._sorted(parts):
                group.append(row)
                if len(group) == _ROWS:
                    writer.write_table(_table(group))
                    group.clear()
            if group:
                writer.write_table(_table(group))
        write_atomically(self._folder / NAME, file.getvalue(), overwrite=True)
        for path in parts:
            path.unlink()
        if isinstance(self._parts, Path):  # an address has no folders
            self._parts.rmdir()

    def _part_files(self) -> list[Path]:
        return sorted(self._parts.glob("*.parquet")) if self._parts.exists() else []

    def _sorted(self, parts: list[Path]) -> Iterator[Row]:
        """Yield the rows by position, one for each file. Parts begin in order, and few overlap."""
        old = ((row.index, row.name, 0, row) for row in _read(self._folder / NAME))
        last = None
        for _, name, _, row in heapq.merge(self._swept(parts), old):
            if name != last:
                yield row
            last = name

    @staticmethod
    def _swept(parts: list[Path]) -> Iterator[tuple[int, str, int, Row]]:
        """Merge parts that begin in order; only those that overlap are in memory together."""
        heap: list[tuple[int, str, int, Row]] = []
        for number, path in enumerate(parts, 1):
            first = int(path.name.partition("-")[0])
            while heap and heap[0][0] < first:
                yield heapq.heappop(heap)
            for row in _read(path):
                heapq.heappush(heap, (row.index, row.name, number, row))
        while heap:
            yield heapq.heappop(heap)


def _schema() -> pa.Schema:
    import pyarrow as pa

    text = pa.string()
    columns = {"index": pa.int64(), "file": text, "seed": pa.uint64(), "prompt": text, "record": text}
    return pa.schema(list(columns.items()))


def _table(rows: list[Row]) -> pa.Table:
    import pyarrow as pa

    return pa.Table.from_pylist(
        [
            {
                "index": row.index,
                "file": row.name,
                "seed": row.record["seed"],
                "prompt": row.record["prompt"],
                "record": json.dumps(row.record),
            }
            for row in rows
        ],
        schema=_schema(),
    )


def _read(path: Path) -> Iterator[Row]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if not path.exists():
        return
    try:
        with path.open("rb") as file:
            for batch in pq.ParquetFile(file).iter_batches(_ROWS, columns=["index", "file", "record"]):
                for entry in batch.to_pylist():
                    yield Row(entry["index"], entry["file"], _record(entry["record"]))
    except (pa.ArrowException, OSError, KeyError) as error:
        raise ZooError(
            f"{path} is not an index of samples: {error}.", "Remove it and run again with --resume."
        ) from None


def _record(text: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(text)
    return found
