"""Write and read records: inside of files that have a place for them, in JSON sidecars of others."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import OutputError
from zoo_core.samples.containers import (
    GIF_SIGNATURES,
    PNG_SIGNATURE,
    flac_comments,
    gif_comments,
    mp4_comments,
    npz_records,
    png_texts,
    wav_comments,
)
from zoo_core.samples.origin import add_to_png
from zoo_core.samples.record import Record

if TYPE_CHECKING:
    from PIL.PngImagePlugin import PngInfo

MAX_RECORD = 4 * 1024 * 1024
"""Maximum length of a record, in bytes of JSON."""

_RECORD, _LAYOUT = "zoo", "zoo-sheet"
_RECORD_START = b'{"schema"'
_NOT_OURS = "Give an original file of zoo run: other commands write no record, and other programs remove it."


def record_text(record: Record) -> str:
    """Return a record as one line of ASCII JSON, which every kind of file can hold.

    Raises:
        OutputError: It is longer than MAX_RECORD.
    """
    text = json.dumps(record.to_json(), allow_nan=False)
    if len(text) > MAX_RECORD:
        raise OutputError(
            f"The record of seed {record.seed} has {len(text):,} bytes; at most {MAX_RECORD:,} are possible.",
            "Give a shorter prompt.",
        )
    return text


def describe(record: Record) -> str:
    """Describe a sample in one line: model, seed, prompt and options."""
    parts = [record.model, f"seed {record.seed}"]
    if isinstance(record.prompt, str):
        parts.append(f"prompt {record.prompt!r}")
    elif record.prompt is not None:
        parts.append(f"{len(record.prompt)} messages up to {record.prompt_text!r}")
    parts += [f"{name} {value}" for name, value in record.options.items() if value is not None]
    return ", ".join(parts)


def png_chunks(records: Iterable[Record], layout: Mapping[str, Any] | None = None) -> PngInfo:
    """Return text chunks for a PNG: each record's JSON, standard keywords for people, and the mark of origin.

    Args:
        records: The record of the one sample, or of all samples of a contact sheet.
        layout: The layout of a contact sheet.
    """
    from PIL.PngImagePlugin import PngInfo

    chunks = PngInfo()
    for position, record in enumerate(records):
        if position == 0:
            chunks.add_text("Software", f"zoo-core {record.versions.get('zoo-core', '')}".rstrip())
            several = f"Contact sheet of {layout['count']} samples: " if layout else ""
            # A prompt from the command line may contain bytes that are not UTF-8.
            chunks.add_itxt("Description", several + describe(record).encode("utf-8", "replace").decode())
            if layout is not None:
                chunks.add_itxt(_LAYOUT, json.dumps(layout))
        chunks.add_itxt(_RECORD, record_text(record))
    return add_to_png(chunks)


def carries_its_record(path: Path) -> bool:
    """Return True for formats that hold a record inside; the others have a sidecar."""
    return path.suffix.lower() in (".png", ".apng", ".gif", ".wav", ".flac", ".mp4", ".npz")


def sidecar_path(path: Path) -> Path:
    """Return the sidecar of ``path``, which holds its record: ``seed0007.jpg.json``."""
    return path.with_name(path.name + ".json")


def sidecar_bytes(record: Record, data: bytes) -> bytes:
    """Return the content of a sidecar: the record, and the hash of the file that it belongs to."""
    return f'{{"sha256": "{hashlib.sha256(data).hexdigest()}", "record": {record_text(record)}}}\n'.encode()


def read_records(path: Path) -> Iterator[Record]:
    """Yield the records of a file: one of a sample, all of a contact sheet.

    The file must be complete: one with its record inside up to its last block, except a FLAC; others must
    match the hash in the sidecar.

    Raises:
        OutputError: The file is missing, truncated or damaged, or holds no record that can be read.
    """
    found = False
    for keyword, document in _read_notes(path):
        if keyword == _RECORD:
            found = True
            yield read_record_json(document, str(path))
    if not found:
        raise OutputError(f"{path} has no record of how it was made.", _NOT_OURS)


def read_sidecar(path: Path) -> Record | None:
    """Return the record in the sidecar of ``path``, whether or not ``path`` matches it or exists.

    None if there is no sidecar that can be read.
    """
    try:
        document = _sidecar_document(path)
        return None if document is None else Record.from_json(document["record"])
    except (OutputError, OSError):
        return None


def read_layout(path: Path) -> Any:
    """Return the layout of a contact sheet; None if the file is not one."""
    return next((document for keyword, document in _read_notes(path) if keyword == _LAYOUT), None)


def read_record_json(document: object, where: str) -> Record:
    """Read a record's JSON; an error names ``where`` it comes from."""
    try:
        return Record.from_json(document)
    except OutputError as error:
        raise OutputError(f"{where}: {error.message}", error.remedy) from None


def parse_json(text: str | bytes, where: str) -> Any:
    """Parse strict JSON from an untrusted file.

    Raises:
        OutputError: It is not JSON, or nested too deeply.
    """
    try:
        return json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise OutputError(f"{where}: the record is not valid JSON.", _NOT_OURS) from None


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _read_notes(path: Path) -> Iterator[tuple[str, Any]]:
    """Yield what the zoo wrote into a file: keyword and parsed JSON."""
    where = str(path)
    try:
        with path.open("rb") as file:
            start = file.read(8)
            if start == PNG_SIGNATURE:
                keywords = {_RECORD.encode(), _LAYOUT.encode()}
                for keyword, text in png_texts(file, path, keywords, MAX_RECORD):
                    yield keyword.decode(), parse_json(text, where)
            elif start[:6] in GIF_SIGNATURES:
                file.seek(0)
                yield from _records_among(gif_comments(file, path, MAX_RECORD), where)
            elif start[:4] == b"RIFF" and file.read(4) == b"WAVE":
                yield from _records_among(wav_comments(file, path, MAX_RECORD), where)
            elif start[:4] == b"fLaC":
                file.seek(4)
                yield from _records_among(flac_comments(file, path, MAX_RECORD), where)
            elif start[4:8] == b"ftyp":
                yield from _records_among(mp4_comments(file, path, MAX_RECORD), where)
            elif path.suffix.lower() == ".npz":
                yield from _records_among(npz_records(file, path, MAX_RECORD), where)
            elif path.suffix.lower() == ".safetensors":
                yield from _safetensors_notes(start + file.read(MAX_RECORD), where)
            else:
                file.seek(0)
                yield from _read_sidecar(path, hashlib.file_digest(file, "sha256").hexdigest())
    except FileNotFoundError:
        raise OutputError(f"There is no file {path}.", "Check the path.") from None
    except IsADirectoryError:
        raise OutputError(f"{path} is a folder.", "Give one of the files in it.") from None
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}.", "Check its permissions.") from None


def _records_among(comments: Iterable[bytes], where: str) -> Iterator[tuple[str, Any]]:
    for comment in comments:
        if comment.startswith(_RECORD_START):
            yield _RECORD, parse_json(comment, where)


def _safetensors_notes(start: bytes, where: str) -> Iterator[tuple[str, Any]]:
    """Yield the record in the metadata of a safetensors file: its header is JSON behind 8 bytes of length."""
    length = int.from_bytes(start[:8], "little")
    if length <= len(start) - 8:
        header = parse_json(start[8 : 8 + length], where)
        metadata = header.get("__metadata__") if isinstance(header, dict) else None
        text = metadata.get(_RECORD) if isinstance(metadata, dict) else None
        if isinstance(text, str):
            yield _RECORD, parse_json(text, where)


def _read_sidecar(path: Path, digest: str) -> Iterator[tuple[str, Any]]:
    document = _sidecar_document(path)
    if document is None:
        return
    if document["sha256"] != digest:
        raise OutputError(
            f"{path} does not match the hash in {sidecar_path(path).name}.",
            "One of the two was changed: make the sample again.",
        )
    yield _RECORD, document["record"]


def _sidecar_document(path: Path) -> dict[str, Any] | None:
    sidecar = sidecar_path(path)
    try:
        with sidecar.open("rb") as file:
            text = file.read(2 * MAX_RECORD)
    except FileNotFoundError:
        return None
    document = parse_json(text, str(sidecar))
    if not isinstance(document, dict) or not {"sha256", "record"} <= document.keys():
        raise OutputError(f"{sidecar} is not a record of {path.name}.", _NOT_OURS)
    return document
