"""Data sets of images: a folder or zip archive of files, or MNIST's IDX files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from zipfile import is_zipfile

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from zoo_core import (
    ImageFile,
    Trainable,
    TrainingData,
    ZooError,
    describe_images,
    find_images,
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
        summary: One line that says what the images are.
    """

    def __init__(
        self,
        read: Callable[[int], np.ndarray],
        training_data: TrainingData,
        labels: np.ndarray | None,
        digest: str,
        summary: str,
    ) -> None:
        self._read = read
        self._damaged: set[int] = set()
        self.summary = summary
        self.training_data = replace(training_data, images=self.examples)
        self._labels = labels
        self.digest = digest

    def items(self, trainable: Trainable) -> Images:
        """Return the images themselves: every trainable sees the same."""
        return self

    def examples(self, count: int) -> Tensor:
        """Return at most ``count`` images, evenly spaced over the data set: (m, c, h, w) uint8."""
        count = min(count, len(self))
        chosen = [self.whole((i * len(self) // count, False))[0] for i in range(count)]
        return torch.from_numpy(np.stack(chosen))

    def __len__(self) -> int:
        return self.training_data.count

    def __getitem__(self, place: tuple[int, bool]) -> tuple[np.ndarray, int]:
        """Return an image (c, h, w) uint8, mirrored left to right if asked, and its label (-1 if none)."""
        image, item = self.whole(place)
        return image, -1 if self._labels is None else int(self._labels[item])

    def whole(self, place: tuple[int, bool]) -> tuple[np.ndarray, int]:
        """Return an image, mirrored if asked, and its number: that of the next one if it is damaged.

        The headers are read when a run starts. To decode all images then would take too long, and to stop
        in the middle of a run would cost more than to learn from one image twice.

        Raises:
            ZooError: All images are damaged.
        """
        item, mirrored = place
        for number in (*range(item, len(self)), *range(item)):
            try:
                image = self._read(number)
                return (image[:, :, ::-1] if mirrored else image), number
            except ZooError as error:
                last = error
                if number not in self._damaged and len(self) > 1:
                    self._damaged.add(number)
                    print(f"{error.message} The next image takes its place.", file=sys.stderr, flush=True)
        raise last

    def collate(self, items: Iterable[tuple[np.ndarray, int]]) -> dict[str, Tensor]:
        """Return a batch: ``images`` (n, c, h, w) in [-1, 1] and, with classes, ``labels`` (n,) int64."""
        images, labels = zip(*items, strict=True)
        images = torch.from_numpy(np.stack(images)).float() / 127.5 - 1
        return {"images": images} | ({"labels": torch.tensor(labels)} if self.training_data.classes else {})

    def without_labels(self) -> Images:
        """Return the same images without their labels."""
        training_data = TrainingData(shape=self.training_data.shape, count=self.training_data.count)
        return Images(self._read, training_data, None, self.digest, self.summary)


@dataclass(frozen=True)
class FileReader:
    """Reads images from files."""

    files: Sequence[ImageFile]
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


def open_images(path: Path, view: View) -> Images:
    """Open a folder of MNIST's IDX files (gzipped or not), or a folder or zip archive of image files.

    ``zoo_core.find_images`` says what the classes are.

    Raises:
        ZooError: There are no images, one cannot be used, or their sizes differ.
    """
    if has_mnist(path):
        return _open_mnist(path, view)
    if not path.is_dir() and not is_zipfile(path):
        raise DataError(
            f"{path} is neither a folder nor a zip archive."
            if path.exists()
            else f"There is no folder {path}.",
            "Give --data a folder of images.",
        )
    found = find_images(path)
    labels = None if found.labels is None else np.array(found.labels)
    return open_files(found.source, found.files, found.names, view, found.describe(), found.classes, labels)


def open_files(
    source: str,
    files: Sequence[ImageFile],
    names: Sequence[str],
    view: View,
    summary: str,
    classes: tuple[str, ...] = (),
    labels: np.ndarray | None = None,
) -> Images:
    """Return the images in these files.

    Args:
        source: The folder or archive that holds them, for messages.
        files: At least one.
        names: Their names in it, for the digest.
        view: How they are brought to one shape.
        summary: One line that says what the images are.
        classes: Names of the labels.
        labels: One for each file; None if there are no classes.

    Raises:
        ZooError: An image cannot be used, or their sizes differ.
    """
    sizes = {image_size(path): path for path in files}
    if view.size is None and len(sizes) > 1:
        (width, height), (other_width, other_height) = list(sizes)[:2]
        raise DataError(
            f"The images in {source} differ in size: {width}×{height} and {other_width}×{other_height}.",
            "Add --size 64 (or another number) to scale them to one size.",
        )
    width, height = next(iter(sizes)) if view.size is None else (view.size, view.size)
    training_data = TrainingData((1 if view.grey else 3, height, width), classes, len(files))
    # Names and sizes stand for the content: reading a million images for this would take too long.
    listing = "\n".join(
        f"{name} {file.stat().st_size if isinstance(file, Path) else file.size}"
        for name, file in zip(names, files, strict=True)
    )
    digest = hashlib.sha256(listing.encode()).hexdigest()
    return Images(FileReader(files, view), training_data, labels, digest, summary)


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
    summary = describe_images(str(folder), len(images), classes)
    return Images(ArrayReader(images, view), training_data, labels, digest, summary)
