"""The pictures a model learns from: a folder of them, or MNIST's IDX files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from zoo_core import PICTURE_SUFFIXES, Trainable, TrainingData, ZooError, read_idx

IDX_IMAGES = "train-images-idx3-ubyte"
IDX_LABELS = "train-labels-idx1-ubyte"
ORIENTATION = 0x0112
"""The EXIF tag; values from 5 swap width and height."""


class DataError(ZooError):
    """The data cannot be learned from."""


@dataclass(frozen=True)
class View:
    """How pictures are brought to one shape."""

    size: int | None = None
    """Side of the square cut from the middle, the shorter side being scaled to it; None: as they are."""
    grey: bool = False
    """One channel instead of three."""

    @property
    def mode(self) -> str:
        """Pillow's name for the channels."""
        return "L" if self.grey else "RGB"

    def apply(self, picture: Image.Image) -> np.ndarray:
        """Return the picture as (c, h, w) uint8, turned upright, transparent parts on white."""
        if _has_orientation(picture):
            picture = ImageOps.exif_transpose(picture)
        if picture.has_transparency_data:
            picture = picture.convert("RGBA")
            white = Image.new("RGBA", picture.size, "white")
            picture = Image.alpha_composite(white, picture)
        picture = picture.convert(self.mode)
        if self.size is not None:
            picture = ImageOps.fit(picture, (self.size, self.size), Image.Resampling.LANCZOS)
        array = np.array(picture)
        return array[None] if self.grey else array.transpose(2, 0, 1)


class Pictures:
    """Pictures of one shape, with labels or without, read when asked for.

    Args:
        read: Returns picture i as (c, h, w) uint8; can be pickled, for the processes that read ahead.
        facts: Shape, classes and number of the pictures.
        labels: One label per picture; None if there are no classes.
        digest: Changes when the pictures or their labels do.
    """

    def __init__(
        self, read: Callable[[int], np.ndarray], facts: TrainingData, labels: np.ndarray | None, digest: str
    ) -> None:
        self._read = read
        self.facts = replace(facts, pictures=self.examples)
        self._labels = labels
        self.digest = digest

    def items(self, trainable: Trainable) -> Pictures:
        """Return what the trainable learns from, item by item: the pictures."""
        return self

    def examples(self, count: int) -> Tensor:
        """Return ``count`` pictures, or all if there are fewer, from all over: (m, c, h, w) uint8."""
        count = min(count, len(self))
        chosen = [self._read(i * len(self) // count) for i in range(count)]
        return torch.from_numpy(np.stack(chosen))

    def __len__(self) -> int:
        return self.facts.count

    def __getitem__(self, place: tuple[int, bool]) -> tuple[np.ndarray, int]:
        """Return picture (c, h, w) uint8, mirrored left to right if so asked, and its label (-1 without)."""
        item, mirrored = place
        picture = self._read(item)
        label = -1 if self._labels is None else int(self._labels[item])
        return (picture[:, :, ::-1] if mirrored else picture), label

    def collate(self, items: Iterable[tuple[np.ndarray, int]]) -> dict[str, Tensor]:
        """Make a batch: ``images`` (n, c, h, w) in [-1, 1] and, with classes, ``labels`` (n,) int64."""
        pictures, labels = zip(*items, strict=True)
        images = torch.from_numpy(np.stack(pictures)).float() / 127.5 - 1
        return {"images": images} | ({"labels": torch.tensor(labels)} if self.facts.classes else {})

    def without_labels(self) -> Pictures:
        """Return the same pictures with their labels forgotten."""
        facts = TrainingData(shape=self.facts.shape, count=self.facts.count)
        return Pictures(self._read, facts, None, self.digest)


@dataclass(frozen=True)
class FileReader:
    """Reads pictures from files."""

    files: Sequence[Path]
    view: View

    def __call__(self, item: int) -> np.ndarray:
        """Return picture ``item`` as (c, h, w) uint8."""
        try:
            with Image.open(self.files[item]) as picture:
                return self.view.apply(picture)
        except (OSError, SyntaxError) as error:  # Pillow's word for a broken PNG is SyntaxError
            raise _unreadable(self.files[item]) from error


@dataclass(frozen=True)
class ArrayReader:
    """Reads grey pictures from an array (n, h, w) of uint8."""

    images: np.ndarray
    view: View

    def __call__(self, item: int) -> np.ndarray:
        """Return picture ``item`` as (c, h, w) uint8."""
        if self.view == View(grey=True):
            return np.expand_dims(self.images[item], 0)
        return self.view.apply(Image.fromarray(self.images[item]))


def open_pictures(folder: Path, view: View) -> Pictures:
    """Find the pictures in a folder: MNIST's IDX files (``.gz`` or not), or picture files.

    Sub-folders are classes, in alphabetical order of their names; pictures that lie in the folder itself
    have no labels.

    Raises:
        DataError: nothing there, a picture that cannot be learned from, or sizes that differ.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", "Give --data a folder of pictures.")
    if _idx_file(folder, IDX_IMAGES):
        return _open_idx(folder, view)
    return _open_folder(folder, view)


def _open_folder(folder: Path, view: View) -> Pictures:
    files = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in PICTURE_SUFFIXES and path.is_file()
    )
    if not files:
        raise DataError(
            f"There are no pictures in {folder}.",
            "Give a folder of PNG, JPEG or WebP files, or one with MNIST's IDX files.",
        )
    homes = [path.relative_to(folder).parts[0] if path.parent != folder else None for path in files]
    classes = tuple(sorted({home for home in homes if home is not None}))
    if classes and None in homes:
        loose = files[homes.index(None)]
        raise DataError(
            f"{folder} has pictures ({loose.name}) beside folders of pictures ({classes[0]}/).",
            "Move them into class folders, or take the class folders away.",
        )
    labels = np.array([classes.index(home) for home in homes if home is not None]) if classes else None

    return open_files(folder, files, view, classes, labels)


def open_files(
    folder: Path,
    files: Sequence[Path],
    view: View,
    classes: tuple[str, ...] = (),
    labels: np.ndarray | None = None,
) -> Pictures:
    """Return the pictures in these files.

    Args:
        folder: Where they lie, for messages and the digest.
        files: At least one.
        view: How they are brought to one shape.
        classes: Names of the labels.
        labels: One for each file; None without classes.

    Raises:
        DataError: A picture that cannot be learned from, or sizes that differ.
    """
    sizes = {_check_picture(path): path for path in files}
    if view.size is None and len(sizes) > 1:
        (width, height), (other_width, other_height) = list(sizes)[:2]
        raise DataError(
            f"The pictures in {folder} differ in size: {width}×{height} and {other_width}×{other_height}.",
            "Add --size 64 (or another side) to bring them to one size.",
        )
    width, height = next(iter(sizes)) if view.size is None else (view.size, view.size)
    facts = TrainingData((1 if view.grey else 3, height, width), classes, len(files))
    # Names and sizes stand for the content: to read a million pictures for this would be too dear.
    listing = "\n".join(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in files)
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return Pictures(FileReader(files, view), facts, labels, digest)


def _check_picture(path: Path) -> tuple[int, int]:
    """Return width and height, upright, from a file's header."""
    try:
        with Image.open(path) as picture:
            if getattr(picture, "n_frames", 1) > 1:
                raise DataError(
                    f"{path} is animated.", "Take it out of the folder, or save one of its frames as a PNG."
                )
            width, height = picture.size
            sideways = _has_orientation(picture) and picture.getexif().get(ORIENTATION, 1) >= 5
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise _unreadable(path) from error
    return (height, width) if sideways else (width, height)


def _has_orientation(picture: Image.Image) -> bool:
    """True if the header may say which way is up; a PNG would be decoded whole to look further."""
    return "exif" in picture.info or picture.format == "TIFF"


def _unreadable(path: Path) -> DataError:
    return DataError(f"{path} cannot be read as a picture.", "Take it out of the folder, or fetch it again.")


def _open_idx(folder: Path, view: View) -> Pictures:
    images_file = _idx_file(folder, IDX_IMAGES)
    labels_file = _idx_file(folder, IDX_LABELS)
    if images_file is None or labels_file is None:
        raise DataError(f"{folder} has {IDX_IMAGES} but no {IDX_LABELS}.", f"Put {IDX_LABELS} beside it.")
    images, labels = read_idx(images_file), read_idx(labels_file)
    if images.ndim != 3 or labels.shape != images.shape[:1] or not len(images):
        raise DataError(
            f"{images_file} has the shape {images.shape} and {labels_file.name} {labels.shape}.",
            "Fetch both again, from the same place.",
        )
    height, width = (view.size, view.size) if view.size else images.shape[1:]
    classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    facts = TrainingData((1 if view.grey else 3, height, width), classes, len(images))
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return Pictures(ArrayReader(images, view), facts, labels, digest)


def is_idx(folder: Path) -> bool:
    """Return whether the folder holds IDX files, whose pictures are grey."""
    return _idx_file(folder, IDX_IMAGES) is not None


def _idx_file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
