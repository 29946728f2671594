"""What people keep data in: image files, and MNIST's IDX files."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import ZooError

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image

IMAGE_SUFFIXES = frozenset({".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"})
_UNSIGNED_BYTES = 0x08


def read_image(path: Path) -> Image:
    """Read an image file in mode L or RGB, turned upright, transparent parts on white.

    Raises:
        ZooError: It is no image, or not a whole one.
    """
    from PIL import Image, ImageOps

    try:
        with Image.open(path) as file:
            image: Image.Image = file
            # A PNG would be decoded whole to look for an orientation further.
            if "exif" in image.info or file.format == "TIFF":
                image = ImageOps.exif_transpose(image)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            image.load()
            return image if image.mode in ("L", "RGB") else image.convert(_mode_of(image))
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ZooError(
            f"{path} cannot be read as an image.", "Take it out of the folder, or fetch it again."
        ) from error


def _mode_of(image: Image) -> str:
    return "L" if image.mode in ("1", "I;16") else "RGB"


def read_idx(path: Path) -> np.ndarray:
    """Read an IDX file of unsigned bytes, gzipped or not (yann.lecun.com/exdb/mnist, "file formats").

    Raises:
        ZooError: It is no such file, or cut short.
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
