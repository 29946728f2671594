"""Sets of images, texts or features, read on demand and identified by their content."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zipfile import BadZipFile, ZipFile

import numpy as np
from PIL import Image

from zoo_core import (
    IMAGE_SUFFIXES,
    ImageFile,
    ZooError,
    describe_images,
    find_files,
    find_images,
    has_mnist,
    memory_limit,
    read_image,
    read_mnist,
)
from zoo_eval.addresses import fetched, is_address

PARTS = ("train", "test")
"""Parts of a data set that a SPEC may name."""
ARRAY_SUFFIXES = (".npy", ".npz")
WORDS = 64
"""Length of the passages that texts are cut into: texts of different lengths would differ by that alone."""

READABLE = (
    "Give a folder or .zip of images (PNG, JPEG, …), a .npz or .npy file of images (uint8) or features, "
    "MNIST's IDX files, or UTF-8 texts."
)

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
    summary: str = ""
    """One line that says what they are."""
    files: tuple[Path, ...] | None = None
    """The files in order, if each image is one."""
    kind = "image"

    def __len__(self) -> int:
        return self.count

    def some(self, count: int) -> Images:
        """Return a fixed random subset of ``count`` images; all if there are fewer."""
        if count >= self.count:
            return self
        chosen = _subset(self.count, count)
        labels = None if self.labels is None else tuple(self.labels[item] for item in chosen)
        read = lambda item: self.read(chosen[item])  # noqa: E731
        files = None if self.files is None else tuple(self.files[item] for item in chosen)
        return Images(self.name, read, count, f"{self.digest} some {count}", labels, files=files)


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

    @property
    def summary(self) -> str:
        """One line that says what they are."""
        return f"{self.name}: {len(self.whole):,} texts, {len(self):,} passages of {WORDS} words"

    def some(self, count: int) -> Texts:
        """Return a fixed random subset of ``count`` passages, with all whole texts."""
        if count >= len(self):
            return self
        return Texts(self.name, tuple(self.passages[item] for item in _subset(len(self), count)), self.whole)


@dataclass(frozen=True)
class Features:
    """Features that another tool computed, or their mean and covariance alone."""

    name: str
    digest: str
    rows: Array | None
    """(n, d) floats; None if only the moments are known."""
    mean: Array | None = None
    """(d,) floats."""
    covariance: Array | None = None
    """(d, d) floats."""
    kind = "features"
    labels = None

    def __len__(self) -> int:
        return 0 if self.rows is None else len(self.rows)

    @property
    def width(self) -> int:
        """Number d of features."""
        known = self.mean if self.rows is None else self.rows
        assert known is not None
        return int(known.shape[-1])

    @property
    def summary(self) -> str:
        """One line that says what they are."""
        what = "mean and covariance" if self.rows is None else f"{len(self):,} rows"
        return f"{self.name}: {what} of {self.width:,} features"

    def read(self, item: int) -> Array:
        """Return row ``item``."""
        assert self.rows is not None
        row: Array = self.rows[item]
        return row

    def some(self, count: int) -> Features:
        """Return a fixed random subset of ``count`` rows; all if there are fewer."""
        if self.rows is None or count >= len(self):
            return self
        return Features(self.name, f"{self.digest} some {count}", self.rows[_subset(len(self), count)])


Items = Images | Texts | Features


def _subset(total: int, count: int) -> list[int]:
    """Return ``count`` of ``total`` items in order, other ones than ``Reference.some`` takes of the data."""
    return sorted(np.random.default_rng(1).permutation(total)[:count].tolist())


def open_data(spec: str) -> Items:
    """Open the data that a SPEC names.

    Args:
        spec: A folder or zip archive of images; a folder of ``.txt`` files at any depth; a text file; a
            ``.npz`` or ``.npy`` file; or a folder of MNIST's IDX files. Of MNIST, and of a folder or archive
            with sub-folders train and test, ``SPEC:test`` is the test set, and ``SPEC`` the training set.
            A folder of images or texts may be an address such as ``s3://BUCKET/RUN``.

    Raises:
        ZooError: There are no such data, or they cannot be read.
    """
    if is_address(spec):
        folder = fetched(spec)
        items = open_data(str(folder))
        if isinstance(items, Images):
            return replace(items, name=spec, summary=items.summary.replace(str(folder), spec))
        return replace(items, name=spec)
    path, part = Path(spec), None
    if not path.exists() and spec.rpartition(":")[2] in PARTS:
        name, _, part = spec.rpartition(":")
        path = Path(name)
    if path.is_dir() and has_mnist(path, part or "train"):
        return _open_mnist(path, part or "train")
    if path.is_dir() and (part or find_files(path, IMAGE_SUFFIXES)):
        return _open_images(path, part)
    if path.is_dir():
        if files := find_files(path, {".txt"}):
            return texts_of(str(path), files)
        raise DataError(f"There are neither images nor texts in {path}.", READABLE)
    suffix = path.suffix.lower()
    if not path.is_file():
        raise DataError(f"There is no folder or file {spec}.", "Give a folder of images, or a text file.")
    if suffix in ARRAY_SUFFIXES:
        return _open_arrays(path)
    if suffix in IMAGE_SUFFIXES:
        raise DataError(f"{path} is one image; a set is needed.", READABLE)
    return _open_images(path, part) if suffix == ".zip" else texts_of(str(path), [path])


def held_out_of(spec: str) -> Items | None:
    """Return the test set of a SPEC: MNIST's, or the folder ``test`` beside ``train``; None without one."""
    path = Path(spec)
    if has_mnist(path, "test"):
        return open_data(f"{spec}:test")
    if not all((path / part).is_dir() for part in PARTS) or not find_files(path / "test", IMAGE_SUFFIXES):
        return None
    return open_data(f"{spec}:test")


def images_of(
    name: str, files: Sequence[ImageFile], labels: tuple[int, ...] | None = None, summary: str = ""
) -> Images:
    """Return the images in these files, identified by their content."""
    return replace(images_in(name, files), digest=_digest(_contents(files)), labels=labels, summary=summary)


def images_in(name: str, files: Sequence[ImageFile]) -> Images:
    """Return the images in these files, whose content is not read yet; the digest is empty."""

    def read(item: int) -> Array:
        return as_array(read_image(files[item]))

    paths = tuple(file for file in files if isinstance(file, Path))
    return Images(name, read, len(files), "", files=paths if len(paths) == len(files) else None)


def _open_images(path: Path, part: str | None) -> Images:
    found = find_images(path, part)
    return images_of(found.source, found.files, summary=found.describe())


def _open_arrays(path: Path) -> Images | Features:
    """Open images (ADM's ``arr_0``), features (n, d), or pytorch-fid's ``mu`` and ``sigma``."""
    arrays = _read_arrays(path)
    digest = _digest(part for name in sorted(arrays) for part in (name.encode(), _bytes(arrays[name])))
    for array in arrays.values():
        if array.dtype == np.uint8 and array.ndim in (3, 4):
            return _array_images(path, array, arrays.get("arr_1"), digest)
    for array in arrays.values():
        if array.dtype.kind == "f" and array.ndim == 2 and "mu" not in arrays:
            return Features(str(path), digest, _finite(path, array))
    mean, covariance = arrays.get("mu"), arrays.get("sigma")
    if mean is not None and covariance is not None and covariance.shape == 2 * mean.shape:
        return Features(str(path), digest, None, _finite(path, mean), _finite(path, covariance))
    shapes = ", ".join(f"{name} {array.dtype} {array.shape}" for name, array in list(arrays.items())[:4])
    raise DataError(
        f"{path} holds neither images nor features: {shapes or 'it is empty'}.",
        "Images are uint8 of shape (n, h, w) or (n, h, w, 3), features floats of shape (n, d), and "
        "statistics mu (d,) and sigma (d, d).",
    )


def _read_arrays(path: Path) -> Mapping[str, Array]:
    try:
        if path.suffix.lower() == ".npy":
            return {"arr_0": np.load(path, mmap_mode="r", allow_pickle=False)}
        with ZipFile(path) as archive:
            members = archive.infolist()
            if sum(member.file_size for member in members) > memory_limit():
                raise DataError(f"{path} is too large for this machine's memory.", "Give a part of it.")
            arrays = {}
            for member in members:
                with archive.open(member) as file:
                    arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(
                        file, allow_pickle=False
                    )
            return arrays
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        RuntimeError,
        MemoryError,
        BadZipFile,
        zlib.error,
    ) as error:
        what = "holds pickled objects" if "object" in str(error).lower() else "is not a whole file of NumPy"
        raise DataError(f"{path} {what}.", "Save plain arrays with numpy.savez or numpy.save.") from error


def _array_images(path: Path, array: Array, labels: Array | None, digest: str) -> Images:
    images = array[..., None] if array.ndim == 3 else array
    if images.shape[3] not in (1, 3) and images.shape[1] in (1, 3):
        images = images.transpose(0, 2, 3, 1)
    if images.shape[3] not in (1, 3) or 0 in images.shape:
        raise DataError(f"{path} holds images of shape {array.shape}.", "Make it (n, h, w) or (n, h, w, 3).")
    known = labels is not None and labels.dtype.kind in "iu" and labels.shape == images.shape[:1]
    return Images(
        str(path),
        lambda item: np.ascontiguousarray(images[item].transpose(2, 0, 1)),
        len(images),
        digest,
        tuple(labels.tolist()) if labels is not None and known else None,
        describe_images(str(path), len(images)),
    )


def _finite(path: Path, array: Array) -> Array:
    if not array.size or not np.isfinite(array).all():
        raise DataError(f"{path} holds features that are NaN or infinite, or none.", "Compute them again.")
    return array


def _bytes(array: Array) -> bytes:
    return f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()


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
        raise DataError(f"{file} is not UTF-8 text.", f"Convert it to UTF-8. {READABLE}") from error


def _open_mnist(folder: Path, part: str) -> Images:
    images, labels = read_mnist(folder, part)
    digest = _digest(iter([str(images.shape).encode(), images.tobytes()]))
    classes = None if labels is None else tuple(labels.tolist())
    name = f"{folder}:{part}"
    summary = describe_images(name, len(images))
    return Images(name, lambda item: images[item][None], len(images), digest, classes, summary)


def _contents(files: Sequence[ImageFile]) -> Iterable[bytes]:
    for file in files:
        try:
            with file.open("rb") as stream:
                yield stream.read()
        except (OSError, BadZipFile, zlib.error, NotImplementedError) as error:
            raise DataError(
                f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.",
                "Take it out, or fetch it again.",
            ) from error


def _digest(contents: Iterable[bytes]) -> str:
    together = hashlib.sha256()
    for content in contents:
        together.update(hashlib.sha256(content).digest())
    return "sha256:" + together.hexdigest()
