"""Read a user's data files: images, and MNIST's IDX files."""

from __future__ import annotations

import gzip
import os
import struct
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, BinaryIO
from zipfile import ZipFile

from zoo_core.errors import ZooError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

_FORMATS = ("AVIF", "BMP", "DIB", "GIF", "JPEG", "JPEG2000", "PNG", "PPM", "QOI", "TIFF", "WEBP")
"""Pillow's names of the formats that are read; JPEG includes MPO. Others, such as EPS, run programs."""
_MOVING_FORMATS = frozenset({"AVIF", "GIF", "PNG", "WEBP"})
"""Formats whose frames are an animation. Those of MPO are previews and second views, those of TIFF pages."""
IMAGE_SUFFIXES = frozenset(
    ".apng .avif .avifs .bmp .dib .gif .j2c .j2k .jfif .jp2 .jpc .jpe .jpeg .jpf .jpg .jpx .mpo .pbm .pfm "  # noqa: SIM905
    ".pgm .png .pnm .ppm .qoi .tif .tiff .webp".split()
)
"""Suffixes, in lower case, of the files that count as images in a folder."""
_MNIST_NAMES = {"train": "train", "test": "t10k"}
_UNSIGNED_BYTES = 0x08
_ORIENTATION = 0x0112
"""The EXIF tag. Values from 5 on swap width and height."""
_PILLOW_LIMIT = Lock()


@dataclass(frozen=True)
class ArchiveMember:
    """A file in a zip archive."""

    archive: Path
    name: str
    size: int
    """Bytes."""

    def __str__(self) -> str:
        return f"{self.archive}/{self.name}"

    def open(self, mode: str = "rb") -> BinaryIO:
        """Return the content, read into memory."""
        if self.size > memory_limit():
            raise _too_large(self, f"{self.size:,} bytes")
        # A file position shared with a forked process would move under both: one archive per process.
        return BytesIO(_archive(self.archive, os.getpid()).read(self.name))


ImageFile = Path | ArchiveMember
"""An image file in a folder or in a zip archive."""


@lru_cache(maxsize=4)
def _archive(path: Path, process: int) -> ZipFile:
    return ZipFile(path)


def read_image(path: ImageFile, keep_alpha: bool = False) -> Image:
    """Read an image file as 8-bit greyscale (mode L) or colour (mode RGB).

    - Orientation: the image is turned upright as its EXIF data say.
    - Colours: those of an embedded ICC profile are converted to sRGB.
    - Transparency: transparent parts are put on white, or kept as an alpha channel (mode RGBA).
    - Several images in one file (MPO, TIFF): the first is read. An animation is refused.
    - 16-bit greyscale is divided by 257. 32-bit integers are too if they fit in 16 bits; otherwise their
      range from 0 to 2³¹ is mapped to 0 to 255, and negative values are black.
    - Floating-point greyscale is multiplied by 255 if no value exceeds 1, and otherwise taken as 0 to 255.
    - Black and white becomes L. All other modes (palette, CMYK, …) become RGB.

    Args:
        path: The file.
        keep_alpha: Return an image with transparency in mode RGBA.

    Raises:
        ZooError: The file is not an image, is damaged, animated, or too large for the memory.
    """
    from PIL import Image, ImageOps

    with _opened(path) as file:
        image: Image.Image = file
        if _may_be_turned(image):
            image = ImageOps.exif_transpose(image)
        image.load()
        profile = image.info.get("icc_profile")
        if image.mode.startswith(("I", "F")):
            return _to_srgb(_to_8_bits(image), profile)
        alpha = image.convert("RGBA").getchannel("A") if image.has_transparency_data else None
        if image.mode in ("1", "LA"):
            image = image.convert("L")
        elif image.mode not in ("L", "RGB", "CMYK", "LAB"):
            image = image.convert("RGB")
        image = _to_srgb(image, profile)
        if alpha is not None and keep_alpha:
            image = image.convert("RGB")
            image.putalpha(alpha)
        elif alpha is not None:
            image = Image.composite(image, Image.new(image.mode, image.size, "white"), alpha)
        return image


def image_size(path: ImageFile) -> tuple[int, int]:
    """Return the width and height that :func:`read_image` would return, from the file's header alone.

    Raises:
        ZooError: The file is not an image, is an animation, or too large for the memory.
    """
    with _opened(path) as image:
        width, height = image.size
        sideways = _may_be_turned(image) and image.getexif().get(_ORIENTATION, 1) >= 5
        return (height, width) if sideways else (width, height)


@contextmanager
def _opened(path: ImageFile) -> Iterator[Image]:
    """Open an image of which only the header has been read; name the file in every error."""
    from PIL import Image

    Image.init()
    try:
        with path.open("rb") as file, warnings.catch_warnings(action="ignore"):
            with _PILLOW_LIMIT:  # its limit is a constant, 179 million pixels; ours depends on the memory
                limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
                try:
                    opened = Image.open(file, formats=[name for name in _FORMATS if name in Image.OPEN])
                finally:
                    Image.MAX_IMAGE_PIXELS = limit
            with opened as image:
                # The pixels and a converted copy; greyscale of more than 8 bits is scaled in float64.
                bytes_each = 24 if image.mode.startswith(("I", "F")) else 8
                most = memory_limit() // bytes_each
                if image.width * image.height > most:
                    at_most = f"{image.width:,}×{image.height:,} pixels; at most {most // 10**6:,} million"
                    raise _too_large(path, at_most)
                if image.format in _MOVING_FORMATS and getattr(image, "is_animated", False):
                    raise ZooError(
                        f"{path} is animated.",
                        "Take it out of the folder, or save one of its frames as a PNG.",
                    )
                yield image
    except ZooError:
        raise
    except MemoryError as error:
        raise _too_large(path, "the memory is full") from error
    except Exception as error:  # Pillow's readers raise almost anything on a damaged file
        remedy = "Take it out of the folder, or fetch it again."
        if isinstance(error, OSError) and error.errno:
            raise ZooError(f"{path} cannot be read: {error.strerror}.", remedy) from error
        kind = path.name.rpartition(".")[2].lower()
        if kind in ("avif", "jp2", "webp") and f".{kind}" not in Image.registered_extensions():
            remedy = "This Pillow does not read the format: pip install --upgrade pillow"
        raise ZooError(f"{path} cannot be read as an image.", remedy) from error


def _too_large(path: ImageFile, reason: str) -> ZooError:
    return ZooError(
        f"{path} is too large for this machine's memory: {reason}.",
        "Make it smaller, or take it out of the folder.",
    )


def memory_limit() -> int:
    """Return how many bytes one file of the user may take up: half of the machine's memory."""
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, OSError, ValueError):  # Windows has no sysconf
        return 4 << 30


def _may_be_turned(image: Image) -> bool:
    """Return whether to look for an orientation; Pillow would decode a whole PNG to look further."""
    return "exif" in image.info or image.format == "TIFF"


def _to_srgb(image: Image, profile: bytes | None) -> Image:
    """Return an image in mode L, RGB, CMYK or LAB as L or RGB in sRGB.

    A damaged profile, or one of another colour space than the image's, is ignored, as browsers do.
    """
    from PIL import ImageCms

    mode = "L" if image.mode == "L" else "RGB"
    if profile or image.mode == "LAB":
        try:
            transform = _srgb_transform(profile or b"", image.mode)
            converted = image if transform is None else ImageCms.applyTransform(image, transform)
            return (converted or image).convert(mode)
        except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
            pass
    return image if image.mode == mode else image.convert(mode)


@lru_cache(maxsize=16)
def _srgb_transform(profile: bytes, mode: str) -> Any:
    """Return Pillow's transform from a profile to sRGB; None for sRGB itself, whose pixels stay exact."""
    from PIL import ImageCms

    if mode == "LAB":
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    else:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        if "sRGB" in ImageCms.getProfileDescription(source):
            return None
    return ImageCms.buildTransform(source, ImageCms.createProfile("sRGB"), mode, "RGB")


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
