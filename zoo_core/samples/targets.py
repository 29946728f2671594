"""What ``-o PATH`` means: the kind of output for each path.

======================  ====================================================================
``out/``, ``out``       a folder, one file per sample; can be resumed
``x.png``, .jpg, .webp  one image: that file
``x.wav``, .flac        audio: that file; likewise ``x.mp4``, .webm, .gif for a video, ``x.npz``,
                        .csv for points and tables
``x.png``               audio, a video, points, a table: an image of it (a waveform, a plot)
``x.png``               several samples that are no texts: a contact sheet of their images
``x.gif``, ``x.apng``   one image or points: the animation of its steps
``x.txt``               one text: that file
``x.jsonl``             texts, one per line; can be resumed
``-``                   texts, to the standard output
======================  ====================================================================

A file that exists is refused before any work is done, unless it may be overwritten. A folder is never
refused: no sample replaces another one there.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from zoo_core.errors import OutputError, visible
from zoo_core.files import as_path, check_folder, is_address, write_atomically
from zoo_core.samples.base import Output
from zoo_core.samples.folder import RunFolder
from zoo_core.samples.images import ANIMATIONS, encode_png
from zoo_core.samples.kinds.text import text_bytes
from zoo_core.samples.lines import JsonLines
from zoo_core.samples.provenance import png_chunks
from zoo_core.samples.sheet import ContactSheet
from zoo_core.samples.single import (
    check_suffix,
    files_of,
    frames_for,
    has_steps,
    recorded_at,
    steps_path,
    write_sample,
    write_steps,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from zoo_core.samples.record import Record
    from zoo_core.samples.sample import Sample


def open_output(
    target: str | os.PathLike[str],
    *,
    kind: str,
    count: int,
    resume: bool = False,
    overwrite: bool = False,
    steps: str | None = None,
    caption: str | None = None,
    known: Callable[[Path], Iterable[tuple[str, Record]]] = lambda folder: (),
) -> Output:
    """Open the output that a path stands for, by the table above.

    Args:
        target: The value of ``-o``.
        kind: The kind of the samples: ``image``, ``text``, ….
        count: Number of samples.
        resume: Continue a folder or a ``.jsonl`` file.
        overwrite: Replace a file that exists.
        steps: ``gif``, ``apng`` or ``x0``: also write an animation of each image's steps.
        caption: Text below each image of a contact sheet: ``seed``, ``prompt``, or the name of an option or
            of a metadata field.

        known: Called with a folder that is resumed; returns the names and records that an index has.

    Raises:
        OutputError: The target does not fit the samples, exists, or cannot be written.
    """
    path = as_path(target)
    to_stdout = str(target) == "-"
    to_folder = not to_stdout and is_folder(target)
    to_lines = path.suffix.lower() == ".jsonl" and kind == "text" and not to_folder
    to_sheet = path.suffix.lower() == ".png" and kind != "text" and not to_folder and count > 1
    if resume and not (to_folder or to_lines):
        raise OutputError(
            f"{target} cannot be resumed: it is written when all samples are done.",
            "Give a folder, or a .jsonl file for texts; or leave out --resume.",
        )
    if caption and not to_sheet:
        raise OutputError(
            "Only a contact sheet has captions.", "Write several images to one .png: -n 16 -o sheet.png"
        )
    if steps and not has_steps(kind, steps):
        raise OutputError(f"Steps of {kind} samples cannot be animated.", "Leave out --save-steps.")
    if steps and (to_sheet or path.suffix.lower() in ANIMATIONS):
        raise OutputError(
            f"Steps cannot be saved with {'a contact sheet' if to_sheet else target}.",
            "Write the images to a folder, or one image to a file: -o x.png",
        )
    if to_stdout:
        if kind != "text":
            raise OutputError(
                "Only texts can be written to the standard output.", "Give a file or a folder: -o out/"
            )
        return StandardOutput(sys.stdout.buffer, count)
    if to_folder:
        found = known(path) if resume else ()
        return RunFolder(path, resume=resume, overwrite=overwrite, steps=steps, known=found)
    if to_lines:
        return JsonLines(path, resume=resume, overwrite=overwrite)
    suffix = check_suffix(path, kind)
    if count > 1 and not to_sheet:
        fit = "a .jsonl" if kind == "text" else "a .png for a contact sheet"
        raise OutputError(f"A {suffix} file holds one sample, not {count:,}.", f"Give a folder, or {fit}.")
    animation = (steps_path(path, steps),) if steps else ()
    for taken in files_of(path) + animation:
        if os.path.lexists(taken) and not overwrite:
            raise _exists(taken)
    check_folder(path.parent)
    if to_sheet:
        return SheetFile(path, count, caption, overwrite=overwrite)
    return SingleFile(path, overwrite=overwrite, steps=steps)


def save(sample: Sample, target: str | os.PathLike[str], *, overwrite: bool = False) -> Path:
    """Write one sample to a file or into a folder; see :meth:`zoo_core.Sample.save`."""
    if is_folder(target):
        return RunFolder(Path(target), overwrite=overwrite).write(sample)
    path = Path(target)
    try:
        write_sample(sample, path, overwrite=overwrite)
    except FileExistsError:
        if recorded_at(path) != sample.record:
            raise _exists(next(taken for taken in files_of(path) if os.path.lexists(taken))) from None
        write_sample(sample, path, overwrite=True)
    return path


def is_folder(target: str | os.PathLike[str]) -> bool:
    """Return True for a path that is a folder, ends with a slash, or has no suffix."""
    text = str(target)
    if is_address(target):
        return True
    return text.endswith(("/", os.sep)) or not Path(text).suffix or os.path.isdir(text)


class SingleFile(Output):
    """Writes one sample to one file."""

    path: Path

    def __init__(self, path: Path, *, overwrite: bool = False, steps: str | None = None) -> None:
        self.path = path
        self.wants_frames = frames_for(steps) or path.suffix.lower() in ANIMATIONS
        self._overwrite = overwrite
        self._steps = steps

    def write(self, sample: Sample) -> Path:
        """Write the sample, and its animation if one is asked for."""
        path = save(sample, self.path, overwrite=self._overwrite)
        if self._steps:
            write_steps(sample, steps_path(path, self._steps))
        return path


class SheetFile(Output):
    """Writes the contact sheet of a run, when all its samples are there."""

    path: Path

    def __init__(
        self, path: Path, count: int, caption: str | None = None, *, overwrite: bool = False
    ) -> None:
        self.path = path
        self._sheet = ContactSheet(count, captions=caption is not None)
        self._caption = caption
        self._overwrite = overwrite
        self._records: list[Record] = []

    def write(self, sample: Sample) -> Path:
        """Paste the sample into the next cell."""
        caption = caption_of(sample.record, self._caption) if self._caption else ""
        self._sheet.paste(sample.image, caption)
        self._records.append(sample.record)
        return self.path

    def finish(self) -> None:
        """Write the sheet."""
        image, layout = self._sheet.image, self._sheet.layout
        assert layout is not None
        data = encode_png(image, png_chunks(self._records, layout.to_json()))
        try:
            write_atomically(self.path, data, overwrite=self._overwrite)
        except FileExistsError:
            raise _exists(self.path) from None


class StandardOutput(Output):
    """Writes texts to a stream; if there are several, each after a line with its seed.

    On a terminal, control characters are made visible, except newlines and tabs.
    """

    def __init__(self, stream: BinaryIO, count: int) -> None:
        self._stream = stream
        self._count = count

    def write(self, sample: Sample) -> None:
        """Write the text and a newline, and flush."""
        heading = f"==> seed {sample.seed} <==\n" if self._count > 1 else ""
        text = text_bytes(sample)
        if self._stream.isatty():
            text = visible(text.decode("utf-8", "surrogatepass"), keep="\n\t").encode()
        self._stream.write(heading.encode() + text + b"\n")
        self._stream.flush()


def caption_of(record: Record, name: str) -> str:
    """Return the caption of a sample: its ``seed``, ``prompt``, or an option or metadata field by name.

    Raises:
        OutputError: The record has no field of that name.
    """
    given = {option: value for option, value in record.options.items() if value is not None}
    known = {**record.metadata, **given, "seed": record.seed, "prompt": record.prompt_text}
    if name not in known:
        raise OutputError(
            f"The samples have no field {name!r} for a caption.", f"Choose from: {', '.join(sorted(known))}."
        )
    return str(known[name]) if name == "prompt" else f"{name} {known[name]}"


def _exists(path: Path) -> OutputError:
    return OutputError(
        f"{path} exists already.", "Give --force (overwrite=True) to replace it, or another path."
    )
