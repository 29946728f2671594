"""Reproduce a sample: read its record, check what has changed since, and compare the two."""

from __future__ import annotations

import io
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo_core.errors import OutputError
from zoo_core.samples.images import decode
from zoo_core.samples.lines import read_line
from zoo_core.samples.provenance import read_layout, read_records
from zoo_core.samples.sheet import Layout
from zoo_core.samples.single import sample_bytes, text_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample

ROUNDING = 1
"""Levels (of 255) by which rounding alone can change a pixel."""

_NUMBERED = re.compile(r"(.+):(\d{1,9})")


@dataclass(frozen=True)
class Match:
    """The result of comparing a reproduced sample with its file."""

    verdict: Literal["identical", "rounding", "different"]
    """``rounding``: no pixel differs by more than ROUNDING levels."""
    sentence: str
    """The verdict in words, with the figure."""
    levels: int | None = None
    """The largest difference of two pixels in 8-bit levels; None for texts and for images of two sizes."""


def read_record(target: str | os.PathLike[str]) -> Record:
    """Read the record of a sample.

    Args:
        target: A file that zoo wrote, or its sidecar. ``out.jsonl:3`` is the third line, ``sheet.png:3`` the
            third image of a contact sheet.

    Raises:
        OutputError: There is no such sample, its file is damaged, or it has no record.
    """
    path, number = _split_target(target)
    if path.suffix.lower() == ".jsonl":
        return read_line(path, number)[1]
    chosen = None
    count = 0
    for record in read_records(path):
        count += 1
        if count == (number or 1):
            chosen = record
    if number is None and count > 1:
        raise OutputError(f"{path} holds {count} samples.", f"Name one by its number: {path}:1")
    if chosen is None:
        raise OutputError(f"{path} has no sample {number}.", f"Give a number from 1 to {count}.")
    return chosen


def check_replay(then: Record, now: Record) -> tuple[str, ...]:
    """Return what has changed between a record and the one the same sample would get now.

    Args:
        then: The record in the file.
        now: The record of the sample about to be made (metadata aside).

    Returns:
        A sentence for each change that may alter the result slightly: versions, device, dtype, new options.

    Raises:
        OutputError: The checkpoint or the plugin is a different one, so the sample would be too.
    """
    if then.plugin != now.plugin:
        raise OutputError(
            f"The sample was made by {then.plugin}; {now.model} now belongs to {now.plugin}.",
            f"Install it: zoo install {then.plugin}; or disable the other: zoo disable {now.plugin}",
        )
    if then.checkpoint["digest"] != now.checkpoint["digest"]:
        raise OutputError(
            f"The sample was made with other weights: {_weights(then)}; {now.model} now has {_weights(now)}.",
            "Run the revision it was made with: zoo run hf:ORG/REPO@REVISION",
        )
    changes = [
        f"{name} was {version} and is {now.versions.get(name, 'not installed')}"
        for name, version in then.versions.items()
        if now.versions.get(name) != version
    ]
    if then.device != now.device:
        changes.append(f"the device was {then.device} and is {now.device}")
    if then.dtype != now.dtype:
        changes.append(f"the dtype was {then.dtype} and is {now.dtype}")
    changes += [
        f"the option {name} is new and is {value}"
        for name, value in now.options.items()
        if name not in then.options and value is not None
    ]
    return tuple(changes)


def compare(target: str | os.PathLike[str], again: Sample, *, interrupted: bool = False) -> Match:
    """Compare a file that zoo wrote with its sample made again.

    Where a format loses something (JPEG, GIF), the new sample goes through the format too.

    Args:
        target: As for :func:`read_record`.
        again: The sample made from that record.
        interrupted: The text in the file is only a beginning, which characters may have been held back from.

    Raises:
        OutputError: The file cannot be read.
    """
    path, number = _split_target(target)
    if again.tensor is None:
        old, new = _read_text(path, number, len(text_bytes(again))), text_bytes(again)
        return _compare_texts(old, new[: len(old)] if interrupted else new)
    return _compare_images(path, number, again)


def _compare_texts(old: bytes, new: bytes) -> Match:
    if old == new:
        return Match("identical", "The text is the same.")
    differing = (place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    same = next(differing, min(len(old), len(new)))
    characters = len(old[:same].decode("utf-8", "ignore"))
    return Match("different", f"The texts differ from character {characters + 1} on.")


def _read_text(path: Path, number: int | None, expected: int) -> bytes:
    """Return the text of a sample, at most one byte more than ``expected``."""
    if path.suffix.lower() == ".jsonl":
        return read_line(path, number)[0].encode("utf-8", "surrogatepass")
    try:
        with open(path, "rb") as file:
            return file.read(expected + 1)
    except OSError as error:
        raise OutputError(f"{path} cannot be read: {error.strerror}.", "Check the path.") from None


def _compare_images(path: Path, number: int | None, again: Sample) -> Match:
    layout = read_layout(path)
    if layout is None:
        old = decode(path, again.image.size)
        new = decode(io.BytesIO(sample_bytes(again, path)), again.image.size)
    else:
        old = _cut(path, Layout.from_json(layout), (number or 1) - 1)
        new = again.image
    if old is None or new is None or old.size != new.size:
        return Match("different", "The images differ in size.")
    levels = _largest_difference(old, new)
    if levels == 0:
        return Match("identical", "The image is the same, pixel for pixel.", 0)
    apart = f"the largest difference is {levels} of 255 levels"
    if levels <= ROUNDING:
        return Match("rounding", f"The image is the same within rounding: {apart}.", levels)
    return Match("different", f"The images differ: {apart}.", levels)


def _cut(path: Path, layout: Layout, position: int) -> Image | None:
    sheet = decode(path, layout.size)
    if sheet is None or position >= layout.count:
        raise OutputError(f"{path} does not match its own layout.", "It was changed: make the sheet again.")
    return layout.cut(sheet, position)


def _largest_difference(one: Image, other: Image) -> int:
    """Return the largest difference in 8-bit levels; modes are compared as RGBA."""
    import numpy as np

    levels = [np.asarray(image.convert("RGBA"), dtype=np.int16) for image in (one, other)]
    return int(np.abs(levels[0] - levels[1]).max())


def _split_target(target: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """Split a target into file and number; the target is a file, its sidecar, or ``FILE:NUMBER``."""
    path = Path(target)
    if path.suffix == ".json" and path.exists() and path.with_suffix("").exists():
        return path.with_suffix(""), None
    numbered = _NUMBERED.fullmatch(os.fspath(target))
    if numbered and not path.exists():
        return Path(numbered[1]), int(numbered[2])
    return path, None


def _weights(record: Record) -> str:
    return f"{record.checkpoint['source']} ({record.checkpoint['digest'][:19]})"
