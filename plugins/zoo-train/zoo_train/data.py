"""The images a model learns from: a folder of them, or MNIST's IDX files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from zoo_core import IMAGE_SUFFIXES, Trainable, TrainingData, ZooError, read_idx

IDX_IMAGES = "train-images-idx3-ubyte"
IDX_LABELS = "train-labels-idx1-ubyte"
ORIENTATION = 0x0112
"""The EXIF tag; values from 5 swap width and height."""


class DataError(ZooError):
    """The data cannot be learned from."""


@dataclass(frozen=True)
class View:
    """How images are brought to one shape."""

    size: int | None = None
    """Side of the square cut from the middle, the shorter side being scaled to it; None: as they are."""
    grey: bool = False
    """One channel instead of three."""

    @property
    def mode(self) -> str:
        """Pillow's name for the channels."""
        return "L" if self.grey else "RGB"

    def apply(self, image: Image.Image) -> np.ndarray:
        """Return the image as (c, h, w) uint8, turned upright, transparent parts on white."""
        if _has_orientation(image):
            image = ImageOps.exif_transpose(image)
        if image.has_transparency_data:
            image = image.convert("RGBA")
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image)
        image = image.convert(self.mode)
        if self.size is not None:
            image = ImageOps.fit(image, (self.size, self.size), Image.Resampling.LANCZOS)
        array = np.array(image)
        return array[None] if self.grey else array.transpose(2, 0, 1)


class Images:
    """Images of one shape, with labels or without, read when asked for.

    Args:
        read: Returns image i as (c, h, w) uint8; can be pickled, for the processes that read ahead.
        info: Shape, classes and number of the images.
        labels: One label per image; None if there are no classes.
        digest: Changes when the images or their labels do.
    """

    def __init__(
        self, read: Callable[[int], np.ndarray], info: TrainingData, labels: np.ndarray | None, digest: str
    ) -> None:
        self._read = read
        self.info = replace(info, images=self.examples)
        self._labels = labels
        self.digest = digest

    def items(self, trainable: Trainable) -> Images:
        """Return what the trainable learns from, item by item: the images."""
        return self

    def examples(self, count: int) -> Tensor:
        """Return ``count`` images, or all if there are fewer, from all over: (m, c, h, w) uint8."""
        count = min(count, len(self))
        chosen = [self._read(i * len(self) // count) for i in range(count)]
        return torch.from_numpy(np.stack(chosen))

    def __len__(self) -> int:
        return self.info.count

    def __getitem__(self, place: tuple[int, bool]) -> tuple[np.ndarray, int]:
        """Return image (c, h, w) uint8, mirrored left to right if so asked, and its label (-1 without)."""
        item, mirrored = place
        image = self._read(item)
        label = -1 if self._labels is None else int(self._labels[item])
        return (image[:, :, ::-1] if mirrored else image), label

    def collate(self, items: Iterable[tuple[np.ndarray, int]]) -> dict[str, Tensor]:
        """Make a batch: ``images`` (n, c, h, w) in [-1, 1] and, with classes, ``labels`` (n,) int64."""
        images, labels = zip(*items, strict=True)
        images = torch.from_numpy(np.stack(images)).float() / 127.5 - 1
        return {"images": images} | ({"labels": torch.tensor(labels)} if self.info.classes else {})

    def without_labels(self) -> Images:
        """Return the same images with their labels forgotten."""
        info = TrainingData(shape=self.info.shape, count=self.info.count)
        return Images(self._read, info, None, self.digest)


@dataclass(frozen=True)
class FileReader:
    """Reads images from files."""

    files: Sequence[Path]
    view: View

    def __call__(self, item: int) -> np.ndarray:
        """Return image ``item`` as (c, h, w) uint8."""
        try:
            with Image.open(self.files[item]) as image:
                return self.view.apply(image)
        except (OSError, SyntaxError) as error:  # Pillow's word for a broken PNG is SyntaxError
            raise _unreadable(self.files[item]) from error


@dataclass(frozen=True)
class ArrayReader:
    """Reads grey images from an array (n, h, w) of uint8."""

    images: np.ndarray
    view: View

    def __call__(self, item: int) -> np.ndarray:
        """Return image ``item`` as (c, h, w) uint8."""
        if self.view == View(grey=True):
            return np.expand_dims(self.images[item], 0)
        return self.view.apply(Image.fromarray(self.images[item]))


def open_images(folder: Path, view: View) -> Images:
    """Find the images in a folder: MNIST's IDX files (``.gz`` or not), or image files.

    Sub-folders are classes, in alphabetical order of their names; images that lie in the folder itself
    have no labels.

    Raises:
        DataError: nothing there, an image that cannot be learned from, or sizes that differ.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", "Give --data a folder of images.")
    if _idx_file(folder, IDX_IMAGES):
        return _open_idx(folder, view)
    return _open_folder(folder, view)


def _open_folder(folder: Path, view: View) -> Images:
    files = sorted(
        path for path in folder.rglob("*") if path.suffix.lower() in IMAGE_SUFFIXES and path.is_file()
    )
    if not files:
        raise DataError(
            f"There are no images in {folder}.",
            "Give a folder of PNG, JPEG or WebP files, or one with MNIST's IDX files.",
        )
    homes = [path.relative_to(folder).parts[0] if path.parent != folder else None for path in files]
    classes = tuple(sorted({home for home in homes if home is not None}))
    if classes and None in homes:
        loose = files[homes.index(None)]
        raise DataError(
            f"{folder} has images ({loose.name}) beside folders of images ({classes[0]}/).",
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
) -> Images:
    """Return the images in these files.

    Args:
        folder: Where they lie, for messages and the digest.
        files: At least one.
        view: How they are brought to one shape.
        classes: Names of the labels.
        labels: One for each file; None without classes.

    Raises:
        DataError: An image that cannot be learned from, or sizes that differ.
    """
    sizes = {_check_image(path): path for path in files}
    if view.size is None and len(sizes) > 1:
        (width, height), (other_width, other_height) = list(sizes)[:2]
        raise DataError(
            f"The images in {folder} differ in size: {width}×{height} and {other_width}×{other_height}.",
            "Add --size 64 (or another side) to bring them to one size.",
        )
    width, height = next(iter(sizes)) if view.size is None else (view.size, view.size)
    info = TrainingData((1 if view.grey else 3, height, width), classes, len(files))
    # Names and sizes stand for the content: to read a million images for this would be too dear.
    listing = "\n".join(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in files)
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return Images(FileReader(files, view), info, labels, digest)


def _check_image(path: Path) -> tuple[int, int]:
    """Return width and height, upright, from a file's header."""
    try:
        with Image.open(path) as image:
            if getattr(image, "n_frames", 1) > 1:
                raise DataError(
                    f"{path} is animated.", "Take it out of the folder, or save one of its frames as a PNG."
                )
            width, height = image.size
            sideways = _has_orientation(image) and image.getexif().get(ORIENTATION, 1) >= 5
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise _unreadable(path) from error
    return (height, width) if sideways else (width, height)


def _has_orientation(image: Image.Image) -> bool:
    """True if the header may say which way is up; a PNG would be decoded whole to look further."""
    return "exif" in image.info or image.format == "TIFF"


def _unreadable(path: Path) -> DataError:
    return DataError(f"{path} cannot be read as an image.", "Take it out of the folder, or fetch it again.")


def _open_idx(folder: Path, view: View) -> Images:
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
    info = TrainingData((1 if view.grey else 3, height, width), classes, len(images))
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return Images(ArrayReader(images, view), info, labels, digest)


def is_idx(folder: Path) -> bool:
    """Return whether the folder holds IDX files, whose images are grey."""
    return _idx_file(folder, IDX_IMAGES) is not None


def _idx_file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
