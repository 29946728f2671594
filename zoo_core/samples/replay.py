"""Making a sample again: how it was made, what has changed since, and whether the new one matches."""

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
"""Levels (of 255) by which rounding alone may move a pixel: a value at a tie falls to either side."""

_NUMBERED = re.compile(r"(.+):(\d{1,9})")


@dataclass(frozen=True)
class Match:
    """How a sample made again compares with the file it was made after."""

    verdict: Literal["identical", "rounding", "different"]
    """``rounding``: no pixel differs by more than ROUNDING levels."""
    sentence: str
    """The verdict for a person, with the figure."""
    levels: int | None = None
    """The largest difference of two pixels in 8-bit levels; None for texts and for images of two sizes."""


def read_record(target: str | os.PathLike[str]) -> Record:
    """Read how a sample was made.

    Args:
        target: A file that zoo wrote, or the sidecar of one. One of several samples is named by its number,
            from 1: the line in ``out.jsonl:3``, the place on the contact sheet in ``sheet.png:3``.

    Raises:
        OutputError: There is no such sample, its file is damaged, or it does not say how it was made.
    """
    path, number = _locate(target)
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
    """Say what has changed between a record and the one the same sample would get now.

    Args:
        then: What the file says.
        now: The record of the sample about to be made again (its metadata do not matter).

    Returns:
        A sentence for each change that may move the result a little: versions, device, dtype, new options.

    Raises:
        OutputError: The checkpoint or the plugin is another, so it would be another sample.
    """
    if then.plugin != now.plugin:
        raise OutputError(
            f"The sample was made by {then.plugin}; {now.model} is now run by {now.plugin}.",
            f"Install it: zoo install {then.plugin}; or disable the other: zoo disable {now.plugin}",
        )
    if then.checkpoint["digest"] != now.checkpoint["digest"]:
        raise OutputError(
            f"The sample was made with other weights: {_shown(then)}; {now.model} now is {_shown(now)}.",
            "Fetch the revision it was made with, and name it: zoo run hf:ORG/REPO@REVISION",
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
        if name not in then.options
    ]
    return tuple(changes)


def compare(target: str | os.PathLike[str], again: Sample) -> Match:
    """Compare a file that zoo wrote with its sample made again.

    Where a format loses something (JPEG, GIF), the new sample goes through the format too.

    Args:
        target: As for :func:`read_record`.
        again: The sample made from that record.

    Raises:
        OutputError: The file cannot be read.
    """
    path, number = _locate(target)
    if again.tensor is None:
        return _compare_texts(_read_text(path, number, len(text_bytes(again))), text_bytes(again))
    return _compare_images(path, number, again)


def _compare_texts(old: bytes, new: bytes) -> Match:
    if old == new:
        return Match("identical", "The text is the same.")
    differing = (place for place, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    same = next(differing, min(len(old), len(new)))
    characters = len(old[:same].decode("utf-8", "ignore"))
    return Match("different", f"The texts differ from character {characters + 1} on.")


def _read_text(path: Path, number: int | None, expected: int) -> bytes:
    """The text of a sample, cut where it is longer than one of ``expected`` bytes can match."""
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
        raise OutputError(f"{path} is not the contact sheet it says it is.", "It was changed: make it anew.")
    return layout.cut(sheet, position)


def _largest_difference(one: Image, other: Image) -> int:
    """In 8-bit levels; L, P, RGB and RGBA compare by the colours they show."""
    import numpy as np

    levels = [np.asarray(image.convert("RGBA"), dtype=np.int16) for image in (one, other)]
    return int(np.abs(levels[0] - levels[1]).max())


def _locate(target: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """The file and the sample's number in it, for a file, its sidecar, or ``FILE:NUMBER``."""
    path = Path(target)
    if path.suffix == ".json" and path.exists() and path.with_suffix("").exists():
        return path.with_suffix(""), None
    numbered = _NUMBERED.fullmatch(os.fspath(target))
    if numbered and not path.exists():
        return Path(numbered[1]), int(numbered[2])
    return path, None


def _shown(record: Record) -> str:
    return f"{record.checkpoint['source']} ({record.checkpoint['digest'][:19]})"
