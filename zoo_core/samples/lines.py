"""Write text samples as JSON Lines: one object per line, with the text and its record."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import OutputError
from zoo_core.files import explained, lock_file, make_folder
from zoo_core.samples.base import Output
from zoo_core.samples.provenance import parse_json, read_record_json, record_text

if TYPE_CHECKING:
    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample

MAX_LINE = 32 * 1024 * 1024
"""The longest line that is written or read, in bytes."""
_START = b'{"text": "'


class JsonLines(Output):
    """Appends samples to a file; each is on disk before the next begins.

    Args:
        path: The file; one that exists needs ``resume`` or ``overwrite``.
        resume: Keep the samples in the file and append. A last line cut off by a kill is removed.
        overwrite: Replace the file when the first sample comes; ``resume`` has precedence.

    Raises:
        OutputError: The file exists, is not a file of samples, is being written by another run, or cannot be
            written.
    """

    path: Path

    def __init__(self, path: Path, *, resume: bool = False, overwrite: bool = False) -> None:
        self.path = path
        self._there: set[str] = set()
        self._is_new = not os.path.lexists(path)
        self._replaces = overwrite and not resume
        make_folder(path.parent)
        with explained(path):
            try:
                must_be_new = 0 if resume or overwrite else os.O_EXCL
                self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | must_be_new, 0o666)
            except FileExistsError:
                raise OutputError(
                    f"{path} exists already.",
                    "Give --resume to continue it, --force to replace it, or another path.",
                ) from None
        try:
            lock_file(self._handle, exclusive=True)
            if resume:
                self._resume()
        except BlockingIOError:
            self.close()
            raise OutputError(
                f"Another run is writing {path}.", "Wait for it, or give another path."
            ) from None
        except BaseException:
            self.close()
            raise

    def has(self, record: Record) -> bool:
        """Return True if the resumed file holds the sample of ``record`` (metadata aside)."""
        return record.identity in self._there

    def write(self, sample: Sample) -> Path:
        """Append a sample; if that fails, the file is unchanged.

        Raises:
            OutputError: The sample is not a text, or the line cannot be written.
        """
        if sample.text is None:
            raise OutputError("An image cannot be written as a line of JSON.", "Give a folder: -o out/")
        line = sample_line(sample.text, sample.record)
        if self._replaces:
            # Only now: the model could have failed to load.
            os.ftruncate(self._handle, 0)
            self._replaces = False
        self._append(line)
        return self.path

    def close(self) -> None:
        """Close the file, and remove it if it is new and empty."""
        if self._is_new and os.fstat(self._handle).st_size == 0:
            self.path.unlink(missing_ok=True)
        os.close(self._handle)

    def _append(self, line: bytes) -> None:
        end = os.fstat(self._handle).st_size
        with explained(self.path):
            try:
                rest = memoryview(line)
                while rest:
                    rest = rest[os.write(self._handle, rest) :]
                os.fsync(self._handle)
            except BaseException:
                os.ftruncate(self._handle, end)
                raise

    def _resume(self) -> None:
        end, line = 0, b"\n"
        for number, line in enumerate(_lines(self.path), 1):
            try:
                _, record = parse_line(line, f"{self.path}:{number}")
            except OutputError:
                if not _is_cut_off(line):
                    raise  # not a file of samples: change nothing in it
                os.ftruncate(self._handle, end)
                return
            self._there.add(record.identity)
            end += len(line)
        if not line.endswith(b"\n"):
            self._append(b"\n")


def lines_of(path: Path) -> Iterator[tuple[int, Record]]:
    """Yield the length of each line in bytes and the record on it, except a line that a kill cut off.

    Raises:
        OutputError: The file cannot be read, or holds something else.
    """
    try:
        for number, line in enumerate(_lines(path), 1):
            try:
                record = parse_line(line, f"{path}:{number}")[1]
            except OutputError:
                if _is_cut_off(line):
                    return
                raise
            yield len(line), record
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from None


def sample_line(text: str, record: Record) -> bytes:
    """Return one line of the file: ``{"text": …, "record": {…}}``.

    Raises:
        OutputError: It is longer than MAX_LINE.
    """
    try:
        encoded = json.dumps(text, ensure_ascii=False).encode()
    except UnicodeEncodeError:  # lone surrogates, which only an escape can hold
        encoded = json.dumps(text).encode()
    line = b'{"text": %b, "record": %b}\n' % (encoded, record_text(record).encode())
    if len(line) > MAX_LINE:
        raise OutputError(
            f"The text of seed {record.seed} is too long for a line of JSON.", "Give a folder: -o out/"
        )
    return line


def parse_line(line: bytes, where: str) -> tuple[str, Record]:
    """Read what :func:`sample_line` wrote; anything else is an OutputError that names ``where``."""
    document = parse_json(line, where)
    if not isinstance(document, dict) or not isinstance(document.get("text"), str):
        raise OutputError(f"{where} is not a sample.", "Give a file of samples that zoo wrote.")
    return document["text"], read_record_json(document.get("record"), where)


def read_line(path: Path, number: int | None) -> tuple[str, Record]:
    """Read the sample on a line, counted from 1; None is the only line.

    Raises:
        OutputError: There is no such line, there are several and none was named, or it is not a sample.
    """
    found = None
    try:
        for position, line in enumerate(_lines(path), 1):
            if position == number:
                return parse_line(line, f"{path}:{number}")
            if number is None and found is not None:
                raise OutputError(f"{path} holds several samples.", f"Name one by its line: {path}:1")
            found = line
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from None
    if number is not None or found is None:
        raise OutputError(f"{path} has no line {number or 1}.", "Count the lines from 1.")
    return parse_line(found, str(path))


def read_lines(path: Path) -> Iterator[tuple[str, Record]]:
    """Yield all samples of a file; the errors are those of :func:`read_line`."""
    try:
        for position, line in enumerate(_lines(path), 1):
            yield parse_line(line, f"{path}:{position}")
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from None


def _lines(path: Path) -> Iterator[bytes]:
    with open(path, "rb") as file:
        while line := file.readline(MAX_LINE + 1):
            if len(line) > MAX_LINE:
                raise OutputError(f"{path} has a line too long for a sample.", "Give a file that zoo wrote.")
            yield line


def _is_cut_off(line: bytes) -> bool:
    """Return True for a cut-off line of ours, or for zeros that a crashed file system leaves at the end."""
    if line.endswith(b"\n"):
        return False
    return line.startswith(_START) or _START.startswith(line) or not line.strip(b"\0")
