"""One sample in one file, the format told by its suffix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import OutputError
from zoo_core.files import write_atomically
from zoo_core.samples.images import ANIMATIONS, STILLS, encode_animation, encode_still
from zoo_core.samples.provenance import (
    carries_its_record,
    read_records,
    read_sidecar,
    sidecar_bytes,
    sidecar_path,
)

if TYPE_CHECKING:
    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample

SUFFIXES = {"image": STILLS + ANIMATIONS, "text": (".txt",)}
"""The formats of single files, by what a sample is."""


def check_suffix(path: Path, kind: str) -> str:
    """Return the suffix of ``path`` in lower case.

    Raises:
        OutputError: It is no format for samples of this kind.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES.get(kind, ()):
        fit = ", ".join(SUFFIXES.get(kind, ())) or "nothing yet"
        raise OutputError(
            f"The suffix of {path} does not fit: samples of kind {kind!r} are written as {fit}.",
            "Change the suffix, or end the path in a slash to name a folder.",
        )
    return suffix


def write_sample(sample: Sample, path: Path, *, overwrite: bool = False) -> None:
    """Write one sample and its record.

    Raises:
        FileExistsError: The path is taken and ``overwrite`` is false; nothing was changed.
        OutputError: The suffix does not fit the sample, or the file cannot be written.
    """
    data = sample_bytes(sample, path)
    if carries_its_record(path):
        write_atomically(path, data, overwrite=overwrite)
    elif overwrite:
        # In this order a full disk leaves the old pair as it was.
        write_atomically(path, data, overwrite=True)
        write_atomically(sidecar_path(path), sidecar_bytes(sample.record, data), overwrite=True)
    else:
        _write_pair(sample, path, data)


def _write_pair(sample: Sample, path: Path, data: bytes) -> None:
    """Write a new file and its sidecar.

    The sidecar comes first and claims the name. A kill between the two leaves a sidecar alone, which reads
    as "no sample here" and which the same sample, made again, takes over.
    """
    sidecar, described = sidecar_path(path), sidecar_bytes(sample.record, data)
    if path.exists():
        raise FileExistsError(str(path))
    try:
        write_atomically(sidecar, described)
    except FileExistsError:
        claimed = read_sidecar(path)
        if path.exists() or claimed is None or claimed.identity != sample.record.identity:
            raise
        write_atomically(sidecar, described, overwrite=True)
    try:
        write_atomically(path, data)
    except BaseException:
        sidecar.unlink(missing_ok=True)
        raise


def files_of(path: Path) -> tuple[Path, ...]:
    """The file of one sample at ``path``, and its sidecar where the format needs one."""
    return (path,) if carries_its_record(path) else (path, sidecar_path(path))


def steps_path(path: Path, suffix: str) -> Path:
    """Where the animation of an image's steps goes: ``seed0007-steps.gif``."""
    return path.with_name(f"{path.stem}-steps{suffix}")


def write_steps(sample: Sample, path: Path) -> None:
    """Write the animation of a sample's steps, replacing what is at ``path``."""
    write_atomically(path, sample_bytes(sample, path), overwrite=True)


def sample_bytes(sample: Sample, path: Path) -> bytes:
    """The bytes of a sample's file in the format of ``path``; OutputError if its suffix does not fit."""
    suffix = check_suffix(path, "text" if sample.tensor is None else "image")
    if sample.tensor is None:
        return text_bytes(sample)
    if suffix in ANIMATIONS:
        return encode_animation(sample.frames, sample.image, suffix, sample.record)
    return encode_still(sample.image, suffix, sample.record)


def text_bytes(sample: Sample) -> bytes:
    """A text sample in UTF-8, nothing added: what was not text (lone surrogates) comes back the same too."""
    return (sample.text or "").encode("utf-8", "surrogatepass")


def recorded_at(path: Path) -> Record | None:
    """The record of the one sample in a file; None if there is none, none to be read, or several."""
    try:
        records = read_records(path)
        first = next(records)
        return None if any(True for _ in records) else first
    except OutputError:
        return None
