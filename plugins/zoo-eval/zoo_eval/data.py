"""Sets of images or texts, read on demand and identified by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo_core import IMAGE_SUFFIXES, ZooError, find_files, has_mnist, read_image, read_mnist

PARTS = ("train", "test")
"""Parts of MNIST that a SPEC may name."""
WORDS = 64
"""Length of the passages that texts are cut into: texts of different lengths would differ by that alone."""

Array = np.ndarray[Any, Any]


class DataError(ZooError):
    """The data cannot be compared."""


@dataclass(frozen=True)
class Images:
    """Images of any sizes."""

    name: str
    read: Callable[[int], Array]
    """Returns image i as (c, h, w) uint8, c being 1 or 3."""
    count: int
    digest: str
    """Digest of their content, in their order."""
    labels: tuple[int, ...] | None = None
    kind = "image"

    def __len__(self) -> int:
        return self.count

    def first(self, count: int) -> Images:
        """Return the first ``count`` images."""
        if count >= self.count:
            return self
        labels = None if self.labels is None else self.labels[:count]
        return Images(self.name, self.read, count, f"{self.digest} to {count}", labels)


@dataclass(frozen=True)
class Texts:
    """Texts, and passages of one length cut from them."""

    name: str
    passages: tuple[str, ...]
    whole: tuple[str, ...]
    kind = "text"
    labels = None

    def __len__(self) -> int:
        return len(self.passages)

    @property
    def digest(self) -> str:
        """Digest of their content, in their order."""
        return _digest(text.encode() for text in self.passages)

    def read(self, item: int) -> str:
        """Return passage ``item``."""
        return self.passages[item]

    def first(self, count: int) -> Texts:
        """Return the first ``count`` passages, with all whole texts."""
        return self if count >= len(self) else Texts(self.name, self.passages[:count], self.whole)


Items = Images | Texts


def open_data(spec: str) -> Items:
    """Open the data that a SPEC names.

    Args:
        spec: A folder of images or of ``.txt`` files, at any depth; a text file; or a folder of MNIST's IDX
            files, where ``FOLDER:test`` is the test set and ``FOLDER`` the training set.

    Raises:
        ZooError: There are no such data, or they cannot be read.
    """
    path, part = Path(spec), "train"
    if not path.exists() and spec.rpartition(":")[2] in PARTS:
        name, _, part = spec.rpartition(":")
        path = Path(name)
    if path.is_file():
        return texts_of(str(path), [path])
    if not path.is_dir():
        raise DataError(f"There is no folder or file {spec}.", "Give a folder of images, or a text file.")
    if has_mnist(path, part):
        return _open_mnist(path, part)
    if files := find_files(path, IMAGE_SUFFIXES):
        return images_of(str(path), files)
    if files := find_files(path, {".txt"}):
        return texts_of(str(path), files)
    raise DataError(
        f"There are neither images nor texts in {path}.",
        "Give a folder of PNG, JPEG or WebP files, of .txt files, or of MNIST's IDX files.",
    )


def held_out_of(spec: str) -> Items | None:
    """Return MNIST's test set, if a SPEC names a folder that has one."""
    return open_data(f"{spec}:test") if has_mnist(Path(spec), "test") else None


def images_of(name: str, files: Sequence[Path], labels: tuple[int, ...] | None = None) -> Images:
    """Return the images in these files."""

    def read(item: int) -> Array:
        return as_array(read_image(files[item]))

    return Images(name, read, len(files), _digest(_contents(files)), labels)


def texts_of(name: str, files: Sequence[Path]) -> Texts:
    """Return the texts in these files, and passages of ``WORDS`` words cut from them.

    A shorter text is one passage. The end of a longer text that does not fill a passage is left out.

    Raises:
        DataError: A file is not UTF-8 text, or all files are empty.
    """
    whole = tuple(_read_text(file) for file in files)
    passages = tuple(passage for text in whole for passage in _passages(text))
    if not passages:
        raise DataError(f"{name} holds no text: its files are empty.", "Give files that hold text.")
    return Texts(name, passages, whole)


def as_array(image: Image.Image) -> Array:
    """Return an image in mode L or RGB as (c, h, w) uint8."""
    array = np.array(image)
    return array[None] if array.ndim == 2 else array.transpose(2, 0, 1)


def as_image(array: Array) -> Image.Image:
    """Return (c, h, w) uint8 as an image."""
    return Image.fromarray(array[0] if len(array) == 1 else array.transpose(1, 2, 0))


def _passages(text: str) -> list[str]:
    words = text.split()
    if 0 < len(words) < WORDS:
        return [" ".join(words)]
    return [" ".join(words[at : at + WORDS]) for at in range(0, len(words) - WORDS + 1, WORDS)]


def _read_text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is not UTF-8 text.", "Convert it to UTF-8, or remove it.") from error


def _open_mnist(folder: Path, part: str) -> Images:
    images, labels = read_mnist(folder, part)
    digest = _digest(iter([str(images.shape).encode(), images.tobytes()]))
    classes = None if labels is None else tuple(labels.tolist())
    return Images(f"{folder}:{part}", lambda item: images[item][None], len(images), digest, classes)


def _contents(files: Sequence[Path]) -> Iterable[bytes]:
    for file in files:
        try:
            yield file.read_bytes()
        except OSError as error:
            raise DataError(
                f"{file} cannot be read: {error.strerror}.", "Take it out of the folder."
            ) from error


def _digest(contents: Iterable[bytes]) -> str:
    together = hashlib.sha256()
    for content in contents:
        together.update(hashlib.sha256(content).digest())
    return "sha256:" + together.hexdigest()
