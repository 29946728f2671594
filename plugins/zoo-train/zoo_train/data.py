"""Data sets of images: a folder of files, or MNIST's IDX files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zoo_core import (
    IMAGE_SUFFIXES,
    Trainable,
    TrainingData,
    ZooError,
    find_files,
    has_mnist,
    image_size,
    read_image,
    read_mnist,
)


class DataError(ZooError):
    """The data cannot be used for training."""


@dataclass(frozen=True)
class View:
    """How images are brought to one shape."""

    size: int | None = None
    """Side of the square cut from the middle after scaling the shorter side to it; None: no scaling."""
    grey: bool = False
    """One channel instead of three."""

    def apply(self, image: Image.Image) -> np.ndarray:
        """Return the image as (c, h, w) uint8."""
        image = image.convert("L" if self.grey else "RGB")
        if self.size is not None:
            image = ImageOps.fit(image, (self.size, self.size), Image.Resampling.LANCZOS)
        array = np.array(image)
        return array[None] if self.grey else array.transpose(2, 0, 1)


class Images:
    """Images of one shape, with or without labels, read when asked for.

    Args:
        read: Returns image i as (c, h, w) uint8. It must be picklable, for the worker processes.
        training_data: Shape, classes and number of the images.
        labels: One label per image; None if there are no classes.
        digest: Changes when the images or their labels change.
    """

    def __init__(
        self,
        read: Callable[[int], np.ndarray],
        training_data: TrainingData,
        labels: np.ndarray | None,
        digest: str,
    ) -> None:
        self._read = read
        self.training_data = replace(training_data, images=self.examples)
        self._labels = labels
        self.digest = digest

    def items(self, trainable: Trainable) -> Images:
        """Return the images themselves: every trainable sees the same."""
        return self

    def examples(self, count: int) -> Tensor:
        """Return at most ``count`` images, evenly spaced over the data set: (m, c, h, w) uint8."""
        count = min(count, len(self))
        chosen = [self._read(i * len(self) // count) for i in range(count)]
        return torch.from_numpy(np.stack(chosen))

    def __len__(self) -> int:
        return self.training_data.count

    def __getitem__(self, place: tuple[int, bool]) -> tuple[np.ndarray, int]:
        """Return an image (c, h, w) uint8, mirrored left to right if asked, and its label (-1 if none)."""
        item, mirrored = place
        image = self._read(item)
        label = -1 if self._labels is None else int(self._labels[item])
        return (image[:, :, ::-1] if mirrored else image), label

    def collate(self, items: Iterable[tuple[np.ndarray, int]]) -> dict[str, Tensor]:
        """Return a batch: ``images`` (n, c, h, w) in [-1, 1] and, with classes, ``labels`` (n,) int64."""
        images, labels = zip(*items, strict=True)
        images = torch.from_numpy(np.stack(images)).float() / 127.5 - 1
        return {"images": images} | ({"labels": torch.tensor(labels)} if self.training_data.classes else {})

    def without_labels(self) -> Images:
        """Return the same images without their labels."""
        training_data = TrainingData(shape=self.training_data.shape, count=self.training_data.count)
        return Images(self._read, training_data, None, self.digest)


@dataclass(frozen=True)
class FileReader:
    """Reads images from files."""

    files: Sequence[Path]
    view: View

    def __call__(self, item: int) -> np.ndarray:
        """Return image ``item`` as (c, h, w) uint8."""
        return self.view.apply(read_image(self.files[item]))


@dataclass(frozen=True)
class ArrayReader:
    """Reads greyscale images from an array (n, h, w) of uint8."""

    images: np.ndarray
    view: View

    def __call__(self, item: int) -> np.ndarray:
        """Return image ``item`` as (c, h, w) uint8."""
        if self.view == View(grey=True):
            return np.expand_dims(self.images[item], 0)
        return self.view.apply(Image.fromarray(self.images[item]))


def open_images(folder: Path, view: View) -> Images:
    """Open a folder of MNIST's IDX files (gzipped or not) or of image files.

    Sub-folders are classes, in alphabetical order. Images in the folder itself have no labels.

    Raises:
        ZooError: There are no images, one cannot be used, or their sizes differ.
    """
    if not folder.is_dir():
        raise DataError(f"There is no folder {folder}.", "Give --data a folder of images.")
    if has_mnist(folder):
        return _open_mnist(folder, view)
    return _open_folder(folder, view)


def _open_folder(folder: Path, view: View) -> Images:
    files = find_files(folder, IMAGE_SUFFIXES)
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
            f"{folder} mixes loose images ({loose.name}) with class folders ({classes[0]}/).",
            "Move the loose images into class folders, or remove the class folders.",
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
        folder: The folder that holds them, for messages and the digest.
        files: At least one.
        view: How they are brought to one shape.
        classes: Names of the labels.
        labels: One for each file; None if there are no classes.

    Raises:
        ZooError: An image cannot be used, or their sizes differ.
    """
    sizes = {image_size(path): path for path in files}
    if view.size is None and len(sizes) > 1:
        (width, height), (other_width, other_height) = list(sizes)[:2]
        raise DataError(
            f"The images in {folder} differ in size: {width}×{height} and {other_width}×{other_height}.",
            "Add --size 64 (or another number) to scale them to one size.",
        )
    width, height = next(iter(sizes)) if view.size is None else (view.size, view.size)
    training_data = TrainingData((1 if view.grey else 3, height, width), classes, len(files))
    # Names and sizes stand for the content: reading a million images for this would take too long.
    listing = "\n".join(f"{path.relative_to(folder).as_posix()} {path.stat().st_size}" for path in files)
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return Images(FileReader(files, view), training_data, labels, digest)


def _open_mnist(folder: Path, view: View) -> Images:
    images, labels = read_mnist(folder)
    if labels is None:
        raise DataError(
            f"{folder} has MNIST's images but no train-labels-idx1-ubyte.",
            "Put the file of labels beside them.",
        )
    height, width = (view.size, view.size) if view.size else images.shape[1:]
    classes = tuple(str(label) for label in range(int(labels.max()) + 1))
    training_data = TrainingData((1 if view.grey else 3, height, width), classes, len(images))
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    return Images(ArrayReader(images, view), training_data, labels, digest)
