"""Read a user's data files: images, and MNIST's IDX files."""

from __future__ import annotations

import gzip
import os
import struct
from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import ZooError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
"""Suffixes, in lower case, of the files that count as images in a folder."""
_MNIST_NAMES = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 0x08
_ORIENTATION = 0x0112
"""The EXIF tag. Values from 5 on swap width and height."""


def find_files(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files with one of these suffixes in a folder and its sub-folders, sorted.

    Hidden files and folders (their names begin with a dot) and ``__MACOSX`` are left out: notebooks and Macs
    leave copies of images there.

    Args:
        folder: Where to look.
        suffixes: In lower case, with the dot. Files are matched in either case.
    """
    found = []
    for home, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith(".") and name != "__MACOSX"]
        found += [Path(home, name) for name in names if not name.startswith(".")]
    return sorted(path for path in found if path.suffix.lower() in suffixes and path.is_file())


def read_image(path: Path) -> Image:
    """Read an image file as 8-bit greyscale (mode L) or colour (mode RGB).

    - Orientation: the image is turned upright as its EXIF data say.
    - Transparency: transparent parts are put on white.
    - Animation: the first frame is read.
    - 16-bit greyscale is divided by 257. 32-bit integers are too if they fit in 16 bits; otherwise their
      range from 0 to 2³¹ is mapped to 0 to 255, and negative values are black.
    - Floating-point greyscale is multiplied by 255 if no value exceeds 1, and otherwise taken as 0 to 255.
    - Black and white becomes L. All other modes (palette, CMYK, …) become RGB.

    Raises:
        ZooError: The file is not an image, or is damaged.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            image: Image.Image = file
            if _may_be_turned(image):
                image = ImageOps.exif_transpose(image)
            image.load()
            if image.mode.startswith(("I", "F")):
                return _to_8_bits(image)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            if image.mode in ("L", "RGB"):
                return image
            return image.convert("L" if image.mode == "1" else "RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path) from error


def image_size(path: Path) -> tuple[int, int]:
    """Return the width and height that :func:`read_image` would return, from the file's header alone.

    Raises:
        ZooError: The file is not an image, or is an animation.
    """
    from PIL import Image

    try:
        with Image.open(path) as image:
            animated = getattr(image, "n_frames", 1) > 1
            width, height = image.size
            sideways = _may_be_turned(image) and image.getexif().get(_ORIENTATION, 1) >= 5
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise _unreadable(path) from error
    if animated:
        raise ZooError(
            f"{path} is animated.", "Take it out of the folder, or save one of its frames as a PNG."
        )
    return (height, width) if sideways else (width, height)


def _may_be_turned(image: Image) -> bool:
    """Return whether to look for an orientation; Pillow would decode a whole PNG to look further."""
    return "exif" in image.info or image.format == "TIFF"


def _to_8_bits(image: Image) -> Image:
    """Return greyscale of more than 8 bits in mode L, scaled as :func:`read_image` says."""
    import numpy as np
    from PIL import Image

    values = np.nan_to_num(np.asarray(image).astype(np.float64))
    highest = values.max(initial=0)
    if image.mode == "F":
        scaled = values * (255 if highest <= 1 else 1)
    else:
        scaled = values / (257 if highest <= 65535 else 2**31 / 255)
    if isinstance(level := image.info.get("transparency"), int):  # a PNG may declare one level transparent
        scaled[values == level] = 255
    return Image.fromarray(scaled.clip(0, 255).round().astype(np.uint8))


def _unreadable(path: Path) -> ZooError:
    return ZooError(f"{path} cannot be read as an image.", "Take it out of the folder, or fetch it again.")


def has_mnist(folder: Path, part: str = "train") -> bool:
    """Return whether a folder holds MNIST's images of ``train`` or ``test``, gzipped or not."""
    return _mnist_file(folder, f"{_MNIST_NAMES[part]}-images-idx3-ubyte") is not None


def read_mnist(folder: Path, part: str = "train") -> tuple[np.ndarray, np.ndarray | None]:
    """Read MNIST's IDX files of ``train`` or ``test``, gzipped or not.

    Returns:
        Images (n, h, w) and labels (n,), uint8; None in place of labels if their file is missing.

    Raises:
        ZooError: The images are missing, a file is damaged, or images and labels differ in number.
    """
    names = [f"{_MNIST_NAMES[part]}-{kind}-ubyte" for kind in ("images-idx3", "labels-idx1")]
    images_file, labels_file = (_mnist_file(folder, name) for name in names)
    if images_file is None:
        raise ZooError(f"{folder} has no {names[0]}.", "Name a folder that holds MNIST's IDX files.")
    images = read_idx(images_file)
    labels = read_idx(labels_file) if labels_file else None
    if images.ndim != 3 or not len(images) or (labels is not None and labels.shape != images.shape[:1]):
        shapes = f"the shape {images.shape}"
        if labels_file and labels is not None:
            shapes += f", and {labels_file.name} the shape {labels.shape}"
        raise ZooError(f"{images_file} has {shapes}.", "Fetch them again, from the same place.")
    return images, labels


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not (yann.lecun.com/exdb/mnist, "file formats").

    Raises:
        ZooError: The file has another format, or is cut short.
    """
    import numpy as np

    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zeros, kind, axes = struct.unpack_from(">HBB", content)
        shape = struct.unpack_from(f">{axes}I", content, 4)
        if zeros or kind != _UNSIGNED_BYTES:
            raise ValueError("not an IDX file of unsigned bytes")
        array: np.ndarray = np.frombuffer(content, np.uint8, offset=4 + 4 * axes)
        return array.reshape(shape)
    except (OSError, EOFError, struct.error, ValueError) as error:
        raise ZooError(f"{path} is not a whole IDX file of unsigned bytes.", "Fetch it again.") from error


def _mnist_file(folder: Path, name: str) -> Path | None:
    return next((path for path in (folder / name, folder / f"{name}.gz") if path.is_file()), None)
