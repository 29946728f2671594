"""Reproduce a sample: read its record, check what has changed since, and compare the two."""

from __future__ import annotations

import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import OutputError
from zoo_core.samples.images import decode
from zoo_core.samples.kinds import KINDS
from zoo_core.samples.kinds.image import compare_encoded, compare_images
from zoo_core.samples.kinds.text import compare_texts, read_text, text_bytes
from zoo_core.samples.lines import read_line
from zoo_core.samples.match import Match
from zoo_core.samples.provenance import read_layout, read_records
from zoo_core.samples.sheet import Layout
from zoo_core.samples.single import sample_bytes

if TYPE_CHECKING:
    from PIL.Image import Image

    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample

_NUMBERED = re.compile(r"(.+):(\d{1,9})")


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
        OutputError: The checkpoint, the plugin or a file is a different one, so the sample would be too.
    """
    if then.plugin != now.plugin:
        raise OutputError(
            f"The sample was made by {then.plugin}; {now.model} now belongs to {now.plugin}.",
            f"Install it: zoo install {then.plugin}; or disable the other: zoo disable {now.plugin}",
        )
    if then.checkpoint["digest"] != now.checkpoint["digest"]:
        raise OutputError(
            f"The sample was made with other weights: {_weights(then)}; {now.model} now has {_weights(now)}.",
            _other_weights_remedy(then),
        )
    if "latents" in then.files:
        raise OutputError(
            "The sample was made from latents given in Python, of which its record has the digest only.",
            "Make it again there, with the same latents.",
        )
    for name, digest in then.files.items():
        if now.files.get(name) != digest:
            raise OutputError(
                f"The sample was made with another file for the option {name}: {then.options.get(name)} "
                + ("has changed." if name in now.files else "is missing."),
                f"Put back the file whose sha256 is {digest}.",
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
    kind = KINDS[again.kind]
    if again.text is not None:
        old, new = _read_text(path, number, len(text_bytes(again))), text_bytes(again)
        return compare_texts(old, new[: len(old)] if interrupted else new)
    if (layout := read_layout(path)) is not None:
        return compare_images(_cut(path, Layout.from_json(layout), (number or 1) - 1), again.image)
    if path.suffix.lower() in kind.suffixes:
        return kind.compare(path, again)
    return compare_encoded(path, sample_bytes(again, path))


def _read_text(path: Path, number: int | None, expected: int) -> bytes:
    """Return the text of a sample, at most one byte more than ``expected``."""
    if path.suffix.lower() == ".jsonl":
        return read_line(path, number)[0].encode("utf-8", "surrogatepass")
    return read_text(path, expected + 1)


def _cut(path: Path, layout: Layout, position: int) -> Image | None:
    sheet = decode(path, layout.size)
    if sheet is None or position >= layout.count:
        raise OutputError(f"{path} does not match its own layout.", "It was changed: make the sheet again.")
    return layout.cut(sheet, position)


def _split_target(target: str | os.PathLike[str]) -> tuple[Path, int | None]:
    """Split a target into file and number; the target is a file, its sidecar, or ``FILE:NUMBER``."""
    path = Path(target)
    if path.suffix == ".json" and path.exists() and path.with_suffix("").exists():
        return path.with_suffix(""), None
    numbered = _NUMBERED.fullmatch(os.fspath(target))
    if numbered and not path.exists():
        return Path(numbered[1]), int(numbered[2])
    return path, None


def _other_weights_remedy(then: Record) -> str:
    source = then.checkpoint["source"]
    if source == "embedded":
        version = then.versions.get(then.plugin, "VERSION")
        package = shlex.quote(f"{then.plugin}=={version}")  # what a file says, in a line to type
        return f"Install the {then.plugin} that it was made with: pip install {package}"
    if source.startswith("hf:"):
        return f"Run the revision it was made with: zoo run {shlex.quote(source)}"
    return f"Put back the files it was made with: {source}"


def _weights(record: Record) -> str:
    return f"{record.checkpoint['source']} ({record.checkpoint['digest'][:19]})"
