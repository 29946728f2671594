"""Convert tensors to 8-bit images and image files, and read them back."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from zoo_core.errors import OutputError
from zoo_core.samples.origin import XMP, add_to_gif
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

_STEPS_MS, _RESULT_MS = 3000, 2000
"""Duration of all steps together, and of the finished image after them, in milliseconds."""
_MAX_FRAME_MS = 200
"""Longest duration of a frame, so that few steps do not become a slide show."""


def to_bytes(images: torch.Tensor) -> Levels:
    """Convert images (..., c, h, w) in [-1, 1] to 8-bit levels (..., h, w, c), or (..., h, w) for c = 1.

    A value x becomes level round(127.5 (x + 1)), ties to even, clamped to 0…255; the arithmetic is float32.

    Raises:
        OutputError: The images contain NaN, do not have 1, 3 or 4 channels, or have no pixels.
    """
    import torch

    if images.ndim < 3 or images.shape[-3] not in (1, 3, 4) or 0 in images.shape:
        raise OutputError(
            f"A tensor of shape {tuple(images.shape)} is not a batch of images.",
            "Tell the plugin's author: images are (n, c, h, w) with 1, 3 or 4 channels.",
        )
    levels = images.detach().to("cpu", torch.float32).add(1).mul(127.5)
    if torch.isnan(levels).any():
        raise OutputError(
            "The image contains NaN.",
            "If it was computed in a short type, try --dtype float32.",
        )
    rounded = levels.round().clamp(0, 255).to(torch.uint8)
    channels_last = rounded.squeeze(-3) if rounded.shape[-3] == 1 else rounded.movedim(-3, -1)
    array: Levels = channels_last.contiguous().numpy()
    return array


def to_image(levels: Levels) -> Image:
    """Convert 8-bit levels, (h, w) or (h, w, c), to an image of mode L, RGB or RGBA."""
    from PIL import Image

    return Image.fromarray(levels)


def encode_png(image: Image, chunks: PngInfo) -> bytes:
    """Return a PNG file with these text chunks."""
    file = io.BytesIO()
    image.save(file, "PNG", pnginfo=chunks)
    return file.getvalue()


def encode_still(image: Image, suffix: str, record: Record) -> bytes:
    """Return an image file: PNG with its record inside, lossless WebP, or JPEG (on white)."""
    if suffix == ".png":
        return encode_png(image, png_chunks([record]))
    file, mark = io.BytesIO(), XMP.encode()
    if suffix == ".webp":
        image.save(file, "WEBP", lossless=True, xmp=mark)
    else:
        _on_white(image).save(file, "JPEG", quality=95, subsampling=0, xmp=mark)
    return file.getvalue()


def encode_animation(frames: Sequence[Image], suffix: str, record: Record) -> bytes:
    """Return an animation from the first frame to the finished image, which is shown longer.

    A GIF has 256 colors per frame and no partial transparency (the image is put on white); an APNG is exact.

    Args:
        frames: Previews, and the result. Smaller previews (of a latent space) are enlarged.
        suffix: ``.gif`` or ``.apng``.
        record: Written into the GIF's comment or the PNG's text chunk.
    """
    from PIL.Image import Resampling

    image = frames[-1]
    previews = [frame.convert(image.mode) for frame in frames[:-1]]
    shown = [frame.resize(image.size, Resampling.NEAREST) for frame in previews]
    if shown and shown[-1].tobytes() == image.tobytes():
        shown.pop()
    each = min(_STEPS_MS // max(len(shown), 1), _MAX_FRAME_MS)
    durations = [each] * len(shown) + [_RESULT_MS]
    shown.append(image)
    file = io.BytesIO()
    if suffix == ".gif":
        shown = [_on_white(frame) for frame in shown]
        note: dict[str, Any] = {"format": "GIF", "comment": record_text(record).encode()}
    else:
        note = {"format": "PNG", "pnginfo": png_chunks([record])}
    shown[0].save(file, save_all=True, append_images=shown[1:], duration=durations, loop=0, **note)
    return add_to_gif(file.getvalue()) if suffix == ".gif" else file.getvalue()


def encode_images(images: Sequence[Image], suffix: str, record: Record, milliseconds: int) -> bytes:
    """Return a file with one image, or an animation of several with equal durations.

    Args:
        images: Of one size.
        suffix: ``.gif``, ``.png``, ``.apng`` or ``.webp``.
        record: Written into the GIF's comment or the PNG's text chunk; WebP needs a sidecar.
        milliseconds: Duration of a frame.
    """
    note: dict[str, Any] = {"format": "PNG", "pnginfo": png_chunks([record])}
    if suffix == ".gif":
        note = {"format": "GIF", "comment": record_text(record).encode()}
    elif suffix == ".webp":
        note = {"format": "WEBP", "xmp": XMP.encode()}
    if len(images) > 1:
        note |= {"save_all": True, "append_images": images[1:], "duration": milliseconds, "loop": 0}
    file = io.BytesIO()
    images[0].save(file, **note)
    return add_to_gif(file.getvalue()) if suffix == ".gif" else file.getvalue()


def decode(file: Path | BinaryIO, size: tuple[int, int]) -> Image | None:
    """Read an image back; of an animation, the last frame.

    Args:
        file: A path, or an open file.
        size: The (width, height) it must have. An image of another size is not decoded; None is returned.

    Raises:
        OutputError: It is damaged, or not an image.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            # Pillow's own limit is not needed: the caller has checked the size it names.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(file) as image:
                if image.size != size:
                    return None
                image.seek(getattr(image, "n_frames", 1) - 1)
                return image.copy()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise OutputError(
            f"The image cannot be read: {error}.", "Copy the file again, or make the sample again."
        ) from None


def image_in(data: bytes) -> Image:
    """Return the image in the content of a file that was just made; it is decoded when it is used."""
    from PIL import Image

    return Image.open(io.BytesIO(data))


def _on_white(image: Image) -> Image:
    """Return the image without transparency, on white."""
    from PIL import Image

    if image.mode != "RGBA":
        return image
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image).convert("RGB")
