"""The image that a model begins with, and the mask of what it makes anew."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.data.images import image_size, read_image
from zoo_core.errors import OptionError, ZooError

if TYPE_CHECKING:
    import torch
    from PIL.Image import Image

MAX_PIXELS = 2**24
"""Most pixels of an input image."""


@dataclass(frozen=True, eq=False)
class InputImage:
    """An image that a model begins with, and the part of it to make anew."""

    image: Image
    """Upright, 8-bit, in mode L, RGB or, with transparency, RGBA."""
    mask: Image | None = None
    """Mode L, of the image's size; white where the image is made anew. None: everywhere."""

    @property
    def size(self) -> tuple[int, int]:
        """Height and width in pixels."""
        return self.image.height, self.image.width

    def fitted(self, size: tuple[int, int]) -> InputImage:
        """Return the image at a size (h, w): its middle, as much of it as has these proportions."""
        from PIL import Image, ImageOps

        to = size[1], size[0]
        return InputImage(
            ImageOps.fit(self.image, to, Image.Resampling.LANCZOS),
            None if self.mask is None else ImageOps.fit(self.mask, to, Image.Resampling.NEAREST),
        )

    def pixels(self, size: tuple[int, int] | None = None, channels: int = 3) -> torch.Tensor:
        """Return the image, (1, channels, h, w) in [-1, 1].

        Args:
            size: Height and width to resize it to; None: its own.
            channels: 1 is greyscale, 3 colour; transparent parts are white.
        """
        return to_pixels(self.image, size or self.size, channels)

    def anew(self, size: tuple[int, int] | None = None) -> torch.Tensor | None:
        """Return where the image is made anew, (1, 1, h, w): 1 there, else 0; None without a mask."""
        import numpy as np
        import torch

        if self.mask is None:
            return None
        white = torch.from_numpy(np.array(self.mask) >= 128)[None, None].float()
        return torch.nn.functional.interpolate(white, size=size or self.size)

    def pasted(self, images: torch.Tensor) -> torch.Tensor:
        """Return images (n, c, h, w) in [-1, 1] with the pixels that the mask keeps as they were."""
        import torch

        size = (images.shape[2], images.shape[3])
        anew = self.anew(size)
        if anew is None:
            return images
        return torch.where(anew.to(images) > 0, images, self.pixels(size, images.shape[1]).to(images))


def to_pixels(image: Image, size: tuple[int, int], channels: int) -> torch.Tensor:
    """Return an image at a size (h, w): (1, channels, h, w) in [-1, 1]; transparent parts are white."""
    import numpy as np
    import torch
    from PIL import Image as PIL

    if image.mode == "RGBA":
        image = PIL.alpha_composite(PIL.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if channels == 1 else "RGB")
    if (image.height, image.width) != size:
        image = image.resize((size[1], size[0]), PIL.Resampling.LANCZOS)
    levels = torch.from_numpy(np.array(image)).view(1, *size, channels)
    return levels.permute(0, 3, 1, 2).float() / 127.5 - 1


def read_input_image(path: str, mask: str | None = None) -> InputImage:
    """Read the files of the options ``--input`` and ``--mask``.

    Raises:
        OptionError: A file cannot be read or is too large, or the mask has another size than the image.
    """
    image = read_option_image(path, "--input")
    if mask is None:
        return InputImage(image)
    read = read_option_image(mask, "--mask").convert("L")
    if read.size != image.size:
        raise OptionError(
            f"--mask {mask} has {read.width} × {read.height} pixels, --input {image.width} × {image.height}.",
            "Give a mask of the image's size, white where the image is to be made anew.",
        )
    return InputImage(image, read)


def read_image_argument(image: Image | str | os.PathLike[str]) -> InputImage:
    """Return an image of PIL, or one in a file, upright and without a mask.

    Raises:
        OptionError: The file cannot be read as an image, or it has more than MAX_PIXELS.
    """
    if isinstance(image, str | os.PathLike):
        return InputImage(read_option_image(os.fspath(image), ""))
    if image.width * image.height > MAX_PIXELS:
        raise _too_large("The image", image.size)
    has_alpha = image.mode == "RGBA" or "transparency" in image.info
    return InputImage(image.convert("RGBA" if has_alpha else "L" if image.mode in ("1", "L") else "RGB"))


def read_option_image(path: str, flag: str) -> Image:
    """Read the image file that an option ``flag`` names, in mode L, RGB or RGBA.

    Raises:
        OptionError: The file cannot be read as an image, or has more than MAX_PIXELS.
    """
    file = Path(path).expanduser()
    try:
        width, height = image_size(file)
        if width * height <= MAX_PIXELS:
            return read_image(file, keep_alpha=True)
    except ZooError as error:
        raise OptionError(f"{flag} {error.message}".strip(), "Give a PNG or JPEG file.") from error
    raise _too_large(f"{flag} {path}".strip(), (width, height))


def _too_large(what: str, size: tuple[int, int]) -> OptionError:
    return OptionError(
        f"{what} is too large: {size[0]} × {size[1]} pixels; at most {MAX_PIXELS:,} in all.",
        "Crop or shrink it first.",
    )
