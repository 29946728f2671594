"""Find the images of a data set, in a folder or a zip archive, and their classes."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

from zoo_core.data.images import IMAGE_SUFFIXES, ArchiveMember, ImageFile
from zoo_core.errors import ZooError, short_repr, some

_LABELS_FILE = PurePosixPath("dataset.json")
"""Labels of StyleGAN's dataset_tool: {"labels": [["00000/img00000000.png", 6], …]}, or null for none."""
_PARTS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
"""Names of sub-folders that are parts of a data set, not classes."""
_MOST_CLASSES = 1 << 16
_SHARD_FOLDER, _SHARD_FILE = re.compile(r"\d{5}"), re.compile(r"(?:img)?(\d{5,8})")
_ENCRYPTED = 1
"""Bit of a zip member's flags."""

_Files = Mapping[PurePosixPath, ImageFile]
"""Files by their names in the data set."""


@dataclass(frozen=True)
class ImageFiles:
    """The images of a data set, sorted by name."""

    source: str
    files: tuple[ImageFile, ...]
    names: tuple[str, ...]
    """Their names in the data set."""
    classes: tuple[str, ...]
    labels: tuple[int, ...] | None
    """One per image; None without classes."""
    left_out: Mapping[str, int]
    """Number of the files that are not used, by suffix or by reason."""
    note: str
    """What else to know about the classes."""

    def describe(self) -> str:
        """Return :func:`describe_images` of these."""
        return describe_images(self.source, len(self.files), self.classes, self.left_out, self.note)


def describe_images(
    source: str, count: int, classes: Sequence[str] = (), left_out: Mapping[str, int] = {}, note: str = ""
) -> str:
    """Return one line, such as ``photos: 1,203 images, 2 classes: cats, dogs; 4 files left out: 4 .txt``."""
    line = f"{source}: {count:,} image{'s'[: count != 1]}"
    if classes:
        line += f", {len(classes):,} class{'es' * (len(classes) != 1)}: {some(classes)}"
    if total := sum(left_out.values()):
        reasons = ", ".join(f"{left_out[reason]:,} {reason}" for reason in sorted(left_out))
        line += f"; {total:,} file{'s'[: total != 1]} left out: {reasons}"
    if note:
        line += f"; {note}"
    return "".join(letter if letter.isprintable() else "\ufffd" for letter in line)


def find_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files with one of these suffixes in a folder and its sub-folders, sorted.

    Hidden files and folders (their names begin with a dot) and ``__MACOSX`` are left out: notebooks and Macs
    leave copies of images there. Links to folders are followed; a folder that is met again is left out.

    Args:
        folder: Where to look.
        suffixes: In lower case, with the dot. Files are matched in either case.

    Raises:
        ZooError: A folder cannot be read.
    """
    return sorted(path for path in _files_in(folder, Counter()) if path.suffix.lower() in suffixes)


def find_images(path: Path, part: str | None = None) -> ImageFiles:
    """Find the images of a folder or of a zip archive, and their classes.

    - Sub-folders ``train`` and ``test`` (or ``val``) are parts of the data set: the training part is used.
    - The labels of a ``dataset.json`` (of StyleGAN's dataset_tool) are used if there is one.
    - Sub-folders ``00000``, ``00001``, … with images numbered on from one to the next are shards.
    - Other sub-folders are classes, in alphabetical order. Images in no sub-folder have no labels.

    Args:
        path: The folder or the archive.
        part: ``train`` or ``test``; None: the training part if there are parts.

    Raises:
        ZooError: They cannot be read, hold no images, or mix loose images with class folders.
    """
    left_out: Counter[str] = Counter()
    if path.is_dir():
        every: _Files = {
            PurePosixPath(file.relative_to(path)): file for file in sorted(_files_in(path, left_out))
        }
    else:
        every = _files_in_archive(path, left_out)
    source, home = str(path), None
    labels_of = _labels_of(every.get(_LABELS_FILE))
    if labels_of is None or part:
        home = _home_of_part(path, every, part)
    if home is not None:
        source = f"{path}/{home}"
        for name in every:
            outside = f"in {name.parts[0]}/" if len(name.parts) > 1 else name.suffix.lower()
            left_out[outside] += name.parts[0] != home
        every = {name.relative_to(home): file for name, file in every.items() if name.parts[0] == home}
        labels_of = _labels_of(every.get(_LABELS_FILE))
    images = {name: file for name, file in every.items() if _is_image(name)}
    for name in every.keys() - images.keys():
        left_out[name.suffix.lower() or "without suffix"] += labels_of is None or name != _LABELS_FILE
    left_out = +left_out
    if not images:
        kinds = f", but {some(sorted(left_out))}" if left_out else ""
        raise ZooError(
            f"There are no images in {source}{kinds}.",
            "Give a folder or zip archive of PNG, JPEG or WebP files, or a folder of MNIST's IDX files.",
        )
    names = tuple(map(str, images))
    if labels_of is None:
        classes, labels, note = _classes_by_folder(path, tuple(images))
    else:
        classes, labels, note = _classes_of(source, labels_of, names)
    return ImageFiles(source, tuple(images.values()), names, classes, labels, left_out, note)


def _files_in(folder: Path, left_out: Counter[str]) -> Iterable[Path]:
    """Yield the visible files in a folder and its sub-folders; real folders come before linked ones."""
    seen: set[tuple[int, int]] = set()
    folders, linked = [folder], list[Path]()
    while folders or linked:
        home = folders.pop() if folders else linked.pop(0)
        try:
            status = home.stat()
            if (status.st_dev, status.st_ino) in seen:
                left_out["linked twice"] += 1
                continue
            seen.add((status.st_dev, status.st_ino))
            entries = sorted(os.scandir(home), key=lambda entry: entry.name)
        except OSError as error:
            raise ZooError(
                f"{home} cannot be read: {error.strerror}.", "Check its permissions, or take it out."
            ) from error
        for entry in entries:
            if _is_hidden(entry.name):
                left_out["hidden"] += 1
            elif entry.is_dir():
                (linked if entry.is_symlink() else folders).append(Path(entry.path))
            elif entry.is_file():
                yield Path(entry.path)
            else:
                left_out["broken links"] += 1


def _files_in_archive(path: Path, left_out: Counter[str]) -> _Files:
    """Return the visible files in a zip archive, without a folder that holds all of them."""
    try:
        with ZipFile(path) as archive:
            members = sorted(archive.infolist(), key=lambda member: PurePosixPath(member.filename))
    except (OSError, BadZipFile, ValueError, NotImplementedError) as error:
        raise ZooError(f"{path} cannot be read as a zip archive.", "Fetch it again.") from error
    files: dict[PurePosixPath, ImageFile] = {}
    for member in members:
        name = PurePosixPath(member.filename)
        if member.is_dir():
            continue
        if any(map(_is_hidden, name.parts)):
            left_out["hidden"] += 1
            continue
        if member.flag_bits & _ENCRYPTED:
            raise ZooError(f"{path} is encrypted.", "Unpack it, and give the folder.")
        files[name] = ArchiveMember(path, member.filename, member.file_size)
    while files and all(len(name.parts) > 1 for name in files) and len({n.parts[0] for n in files}) == 1:
        files = {PurePosixPath(*name.parts[1:]): file for name, file in files.items()}
    return files


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name == "__MACOSX"


def _is_image(name: PurePosixPath) -> bool:
    return name.suffix.lower() in IMAGE_SUFFIXES


def _home_of_part(path: Path, every: _Files, part: str | None) -> str | None:
    """Return the sub-folder to use; None if the sub-folders are not parts of a data set."""
    homes = {name.parts[0] if len(name.parts) > 1 else None for name in every if _is_image(name)}
    known = {home: home.lower() for home in homes if home is not None}
    if part is None:
        if (
            not known
            or None in homes
            or not set(known.values()) <= {n for names in _PARTS.values() for n in names}
        ):
            return None
        if len(known) == 1:
            return next(iter(known))
        part = "train"
    for name in _PARTS[part]:
        for home in sorted(known):
            if known[home] == name:
                return home
    raise ZooError(
        f"{path} has no sub-folder {part}{f', but {some(sorted(known))}' if known else ''}.",
        "Name the folder to use.",
    )


def _classes_by_folder(
    path: Path, names: Sequence[PurePosixPath]
) -> tuple[tuple[str, ...], tuple[int, ...] | None, str]:
    homes = [name.parts[0] if len(name.parts) > 1 else "" for name in names]
    classes = tuple(sorted(set(homes)))
    if classes == ("",):
        return (), None, ""
    if "" in classes:
        raise ZooError(
            f"{path} mixes loose images ({names[homes.index('')]}) with class folders ({classes[1]}/).",
            "Move the loose images into class folders, or remove the class folders.",
        )
    stems = [_SHARD_FILE.fullmatch(name.stem) for name in names]
    numbers = [int(stem[1]) for stem in stems if stem]
    if (
        all(map(_SHARD_FOLDER.fullmatch, classes))
        and len(numbers) == len(names)
        and all(number < after for number, after in pairwise(numbers))
    ):
        return (), None, f"sub-folders such as {classes[0]}/ are shards, not classes"
    numbered = {name: number for number, name in enumerate(classes)}
    return classes, tuple(numbered[home] for home in homes), ""


def _labels_of(file: ImageFile | None) -> object:
    """Return the labels in a ``dataset.json``, or (); None if there is no such file of StyleGAN's."""
    if file is None:
        return None
    try:
        with file.open("rb") as stream:
            content = json.loads(stream.read().decode("utf-8-sig"))
    except (OSError, ValueError, RecursionError, BadZipFile) as error:
        raise ZooError(f"{file} is not JSON.", "Fetch it again, or take it out.") from error
    return (content["labels"] or ()) if isinstance(content, dict) and "labels" in content else None


def _classes_of(
    source: str, labels_of: object, names: Sequence[str]
) -> tuple[tuple[str, ...], tuple[int, ...] | None, str]:
    if not labels_of:
        return (), None, f"{_LABELS_FILE} has no labels"
    try:
        known = dict(labels_of)  # type: ignore[call-overload]
        values = [known[name] for name in names]
    except KeyError as error:
        raise ZooError(
            f"{source}/{_LABELS_FILE} has no label for {error.args[0]}.", "Add it, or take the image out."
        ) from error
    except (TypeError, ValueError) as error:
        raise ZooError(
            f"{source}/{_LABELS_FILE}: labels is {short_repr(labels_of)}.",
            'Make it a list of ["00000/img00000000.png", 6].',
        ) from error
    if not all(type(value) is int and 0 <= value < _MOST_CLASSES for value in values):
        return (), None, f"the labels of {_LABELS_FILE} are not class numbers, and are not used"
    classes = tuple(map(str, range(max(values) + 1)))
    return classes, tuple(values), f"labels of {_LABELS_FILE}"
