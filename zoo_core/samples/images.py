"""From tensors to 8-bit images, to the bytes of a file, and back."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo_core.errors import OutputError
from zoo_core.samples.provenance import png_chunks, record_text

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image
    from PIL.PngImagePlugin import PngInfo

    from zoo_core.samples.record import Record

    Levels = np.ndarray[Any, np.dtype[np.uint8]]

STILLS = (".png", ".jpg", ".jpeg", ".webp")
ANIMATIONS = (".gif", ".apng")

_TRAVEL, _HOLD = 3000, 2000
"""Milliseconds from noise to image, and how long the image then stands."""
_SLOWEST = 200
"""Milliseconds a frame stands at most, so that few steps do not become a slide show."""


def to_bytes(images: torch.Tensor) -> Levels:
    """Turn images (..., c, h, w) in [-1, 1] into 8-bit levels (..., h, w, c), without the c where it is 1.

    A value x becomes level round(127.5 (x + 1)), ties to even, clamped to 0…255; the arithmetic is float32.

    Raises:
        OutputError: The images hold NaN, have not 1, 3 or 4 channels, or have no pixels.
    """
    import torch

    if images.ndim < 3 or images.shape[-3] not in (1, 3, 4) or 0 in images.shape:
        raise OutputError(
            f"A tensor of shape {tuple(images.shape)} holds no images.",
            "Tell the plugin's authors: images are (n, c, h, w) with 1, 3 or 4 channels.",
        )
    levels = images.detach().to("cpu", torch.float32).add(1).mul(127.5)
    if torch.isnan(levels).any():
        raise OutputError(
            "The model made an image that is not a number in places (NaN).",
            "Numbers overflowed in a short type: try --dtype float32.",
        )
    rounded = levels.round().clamp(0, 255).to(torch.uint8)
    channels_last = rounded.squeeze(-3) if rounded.shape[-3] == 1 else rounded.movedim(-3, -1)
    array: Levels = channels_last.contiguous().numpy()
    return array


def to_image(levels: Levels) -> Image:
    """Turn 8-bit levels, (h, w) or (h, w, c), into an image of mode L, RGB or RGBA."""
    from PIL import Image

    return Image.fromarray(levels)


def encode_png(image: Image, chunks: PngInfo) -> bytes:
    """The bytes of a PNG with its text chunks."""
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


def encode_still(image: Image, suffix: str, record: Record) -> bytes:
    """The bytes of an image file: PNG with its record inside, lossless WebP, or JPEG (on white)."""
    if suffix == ".png":
        return encode_png(image, png_chunks([record]))
    file = io.BytesIO()
    if suffix == ".webp":
        image.save(file, "WEBP", lossless=True)
    else:
        _on_white(image).save(file, "JPEG", quality=95, subsampling=0)
    return file.getvalue()


def encode_animation(frames: Sequence[Levels], image: Image, suffix: str, record: Record) -> bytes:
    """The bytes of an animation from the first frame to the finished image, which stands longer.

    A GIF has 256 colours a frame and no half-transparency (the image stands on white); an APNG is exact.

    Args:
        frames: Images so far, 8-bit levels. Smaller ones (previews in a latent space) are enlarged.
        image: The result, shown last whether or not it is also the last of ``frames``.
        suffix: ``.gif`` or ``.apng``.
        record: Goes into the GIF's comment or the PNG's text chunk.
    """
    from PIL.Image import Resampling

    on_the_way = [to_image(frame).convert(image.mode) for frame in frames]
    shown = [frame.resize(image.size, Resampling.NEAREST) for frame in on_the_way]
    if shown and shown[-1].tobytes() == image.tobytes():
        shown.pop()
    each = min(_TRAVEL // max(len(shown), 1), _SLOWEST)
    durations = [each] * len(shown) + [_HOLD]
    shown.append(image)
    file = io.BytesIO()
    if suffix == ".gif":
        shown = [_on_white(frame) for frame in shown]
        note: dict[str, Any] = {"format": "GIF", "comment": record_text(record).encode()}
    else:
        note = {"format": "PNG", "pnginfo": png_chunks([record])}
    shown[0].save(file, save_all=True, append_images=shown[1:], duration=durations, loop=0, **note)
    return file.getvalue()


def decode(file: Path | BinaryIO, size: tuple[int, int]) -> Image | None:
    """Read an image back; of an animation, the last frame.

    Args:
        file: A path, or an open file.
        size: The (width, height) it should have. An image of another size is not decoded, whatever it
            claims to be, and None is returned.

    Raises:
        OutputError: It is damaged, or no image.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # The caller names a size it can hold; Pillow's own limit is for those who cannot.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                if image.size != size:
                    return None
                image.seek(getattr(image, "n_frames", 1) - 1)
                return image.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OutputError(
            f"The image cannot be read: {error}.", "Copy the file again, or make it anew."
        ) from None


def _on_white(image: Image) -> Image:
    """An image without transparency, for formats that have none."""
    from PIL import Image

    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
