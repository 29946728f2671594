"""Write one sample to one file, in the format of its suffix."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo_core.errors import OutputError
from zoo_core.files import write_atomically
from zoo_core.samples.images import ANIMATIONS, encode_animation, encode_images, encode_still
from zoo_core.samples.kinds import KINDS
from zoo_core.samples.kinds.video import VIDEOS, encode_video
from zoo_core.samples.provenance import (
    carries_its_record,
    read_records,
    read_sidecar,
    sidecar_bytes,
    sidecar_path,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from PIL.Image import Image

    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample


def check_suffix(path: Path, kind: str) -> str:
    """Return the suffix of ``path`` in lower case.

    Raises:
        OutputError: The format does not hold samples of this kind.
    """
    suffix = path.suffix.lower()
    formats = dict.fromkeys((*KINDS[kind].suffixes, *KINDS[kind].image_suffixes))
    if suffix not in formats:
        raise OutputError(
            f"{path}: {kind} samples are written as {', '.join(formats)}.",
            "Change the suffix, or end the path with a slash for a folder.",
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
        # In this order, a full disk leaves the old pair unchanged.
        write_atomically(path, data, overwrite=True)
        write_atomically(sidecar_path(path), sidecar_bytes(sample.record, data), overwrite=True)
    else:
        _write_pair(sample.record, path, data)


def save_images(path: Path, images: Sequence[Image], record: Record, *, milliseconds: int = 50) -> None:
    """Write one image, or an animation of several, that a command made: not a sample of ``zoo run``.

    Args:
        path: A new file: ``.png``, ``.apng``, ``.gif``, ``.webp``, ``.mp4`` or ``.webm``.
        images: Of one size.
        record: How they were made. ``zoo replay`` prints ``metadata["command"]``, a list of words.
        milliseconds: Duration of a frame.

    Raises:
        FileExistsError: The path is taken; nothing was changed.
        OutputError: The file cannot be written.
    """
    suffix = path.suffix.lower()
    data = (
        encode_video(images, suffix, 1000 / milliseconds, record)
        if suffix in VIDEOS
        else encode_images(images, suffix, record, milliseconds)
    )
    if carries_its_record(path):
        write_atomically(path, data)
    else:
        _write_pair(record, path, data)


def _write_pair(record: Record, path: Path, data: bytes) -> None:
    """Write a new file and its sidecar.

    The sidecar is written first and reserves the name. A kill between the two leaves only a sidecar, which
    counts as no sample; the same sample, made again, replaces it.
    """
    sidecar, described = sidecar_path(path), sidecar_bytes(record, data)
    if path.exists():
        raise FileExistsError(str(path))
    try:
        write_atomically(sidecar, described)
    except FileExistsError:
        claimed = read_sidecar(path)
        if path.exists() or claimed is None or claimed.identity != record.identity:
            raise
        write_atomically(sidecar, described, overwrite=True)
    try:
        write_atomically(path, data)
    except BaseException:
        sidecar.unlink(missing_ok=True)
        raise


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the file of a sample at ``path``, and its sidecar where the format needs one."""
    return (path,) if carries_its_record(path) else (path, sidecar_path(path))


def companions(path: Path) -> tuple[Path, ...]:
    """Return the files that a sample at ``path`` may have: its own, the sidecar, animations of its steps."""
    return (*files_of(path), *(steps_path(path, steps) for steps in STEPS))


STEPS = {"gif": "steps.gif", "apng": "steps.apng", "x0": "x0.gif"}
"""How the name of an animation ends, by what ``--save-steps`` calls it."""


def steps_path(path: Path, steps: str) -> Path:
    """Return the path of an animation of a sample's steps, one of ``STEPS``: ``seed0007-steps.gif``."""
    return path.with_name(f"{path.stem}-{STEPS[steps]}")


def has_steps(kind: str, steps: str | None) -> bool:
    """Return True if an animation of this kind of samples is to be written."""
    return steps is not None and Path(STEPS[steps]).suffix in KINDS[kind].image_suffixes


def frames_for(steps: str | None) -> bool | Literal["x0"]:
    """Return the ``keep_frames`` of ``Model.generate`` for the animation."""
    return "x0" if steps == "x0" else steps is not None


def write_steps(sample: Sample, path: Path) -> None:
    """Write the animation of a sample's steps, replacing what is at ``path``."""
    write_atomically(path, sample_bytes(sample, path), overwrite=True)


def sample_bytes(sample: Sample, path: Path) -> bytes:
    """Return a sample's file content in the format of ``path``; OutputError if the suffix does not fit."""
    kind, suffix = KINDS[sample.kind], check_suffix(path, sample.kind)
    if suffix in kind.suffixes:
        return kind.encode(sample, suffix)
    if suffix in ANIMATIONS:
        return encode_animation(kind.film(sample), suffix, sample.record)
    return encode_still(kind.image(sample), suffix, sample.record)


def carrying_suffix(kind: str) -> str:
    """Return the suffix of files that hold a sample and its record: ``.png``; of texts ``.jsonl``."""
    return next((each for each in KINDS[kind].suffixes if carries_its_record(Path(f"x{each}"))), ".jsonl")


def recorded_at(path: Path) -> Record | None:
    """Return the record of the only sample in a file; None if there is no readable one, or several."""
    try:
        records = read_records(path)
        first = next(records)
        return None if any(True for _ in records) else first
    except OutputError:
        return None
