"""What is compared: images or texts, read when they are asked for, known by their content."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo_core import IMAGE_SUFFIXES, ZooError, read_idx, read_image

PARTS = {"train": "train", "test": "t10k"}
"""MNIST's files by the part of it that a SPEC names."""
WORDS = 64
"""Length of the passages that texts are cut to: texts of other lengths would differ by that alone."""

Array = np.ndarray[Any, Any]


class DataError(ZooError):
    """There is nothing to compare with."""


@dataclass(frozen=True)
class Images:
    """Images of any sizes."""

    name: str
    read: Callable[[int], Array]
    """Returns image i as (c, h, w) uint8, c being 1 or 3."""
    count: int
    digest: str
    """Of their content, in their order."""
    labels: tuple[int, ...] | None = None
    kind = "image"

    def __len__(self) -> int:
        return self.count

    def first(self, count: int) -> Images:
        """Return the first ``count`` of them."""
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
        """Of their content, in their order."""
        return _digest(text.encode() for text in self.passages)

    def read(self, item: int) -> str:
        """Return passage ``item``."""
        return self.passages[item]

    def first(self, count: int) -> Texts:
        """Return the first ``count`` passages; the whole texts stay."""
        return self if count >= len(self) else Texts(self.name, self.passages[:count], self.whole)


Items = Images | Texts


def open_data(spec: str) -> Items:
    """Find what a SPEC names.

    Args:
        spec: A folder of images or of ``.txt`` files, at any depth; a text file; or a folder of MNIST's IDX
            files, ``FOLDER:test`` for the test part of it, else the training part.

    Raises:
        DataError: There is nothing of the kind.
    """
    path, part = Path(spec), "train"
    if not path.exists() and spec.rpartition(":")[2] in PARTS:
        name, _, part = spec.rpartition(":")
        path = Path(name)
    if path.is_file():
        return texts_of(str(path), [path])
    if not path.is_dir():
        raise DataError(f"There is no folder or file {spec}.", "Give a folder of images, or a text.")
    if images := _idx_file(path, f"{PARTS[part]}-images-idx3-ubyte"):
        return _open_idx(path, images, part)
    files = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
    if found := [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]:
        return images_of(str(path), found)
    if texts := [file for file in files if file.suffix.lower() == ".txt"]:
        return texts_of(str(path), texts)
    raise DataError(
        f"There are neither images nor texts in {path}.",
        "Give a folder of PNG, JPEG or WebP files, of .txt files, or of MNIST's IDX files.",
    )


def held_out_of(spec: str) -> Items | None:
    """Return the test part of the data that a SPEC names, if there is one beside the training part."""
    folder = Path(spec)
    known = folder.is_dir() and _idx_file(folder, f"{PARTS['test']}-images-idx3-ubyte")
    return open_data(f"{spec}:test") if known else None


def images_of(name: str, files: Sequence[Path], labels: tuple[int, ...] | None = None) -> Images:
    """Return the images in these files."""

    def read(item: int) -> Array:
        return as_array(read_image(files[item]))

    return Images(name, read, len(files), _digest(_contents(files)), labels)


def texts_of(name: str, files: Sequence[Path]) -> Texts:
    """Return the texts in these files, and passages of ``WORDS`` words cut from them.

    A text that is shorter is a passage itself; the end of a longer one that fills none is left out.

    Raises:
        DataError: A file is no text in UTF-8, or all are empty.
    """
    whole = tuple(_read_text(file) for file in files)
    passages = tuple(passage for text in whole for passage in _passages(text))
    if not passages:
        raise DataError(f"There is no text in {name}.", "Give texts with something in them.")
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
        return file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{file} is no text in UTF-8.", "Convert it, or take it out.") from error


def _open_idx(folder: Path, images_file: Path, part: str) -> Images:
    images = read_idx(images_file)
    labels_file = _idx_file(folder, f"{PARTS[part]}-labels-idx1-ubyte")
    labels = None if labels_file is None else tuple(read_idx(labels_file).tolist())
    if images.ndim != 3 or not len(images) or (labels is not None and len(labels) != len(images)):
        raise DataError(f"{images_file} holds no images, or has not as many labels.", "Fetch it again.")
    digest = _digest(iter([str(images.shape).encode(), images.tobytes()]))
    return Images(f"{folder}:{part}", lambda item: images[item][None], len(images), digest, labels)


def _idx_file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)


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
