"""From tensors to 8-bit pictures, to bytes, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from zoo_core.errors import OutputError

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

    Levels = np.ndarray[Any, np.dtype[np.uint8]]


def to_bytes(images: torch.Tensor) -> Levels:
    """Turn pictures (..., c, h, w) in [-1, 1] into 8-bit levels: (..., h, w) for one channel, else (..., h, w, c).

    A value x becomes level round(127.5 (x + 1)), ties to even, clamped to 0…255; the arithmetic is float32.

    Raises:
        OutputError: The pictures hold NaN, have not 1, 3 or 4 channels, or have no pixels.
    """
    import torch

    if images.ndim < 3 or images.shape[-3] not in (1, 3, 4) or 0 in images.shape:
        raise OutputError(
            f"A tensor of shape {tuple(images.shape)} holds no pictures.",
            "Tell the plugin's authors: pictures are (n, c, h, w) with 1, 3 or 4 channels.",
        )
    levels = images.detach().to("cpu", torch.float32).add(1).mul(127.5)
    if torch.isnan(levels).any():
        raise OutputError(
            "The model made a picture that is not a number in places (NaN).",
            "Numbers overflowed in a short type: try --dtype float32.",
        )
    rounded = levels.round().clamp(0, 255).to(torch.uint8)
    channels_last = rounded.squeeze(-3) if rounded.shape[-3] == 1 else rounded.movedim(-3, -1)
    array: Levels = channels_last.contiguous().numpy()
    return array


def to_picture(levels: Levels) -> Image:
    """Turn 8-bit levels, (h, w) or (h, w, c), into a picture of mode L, RGB or RGBA."""
    from PIL import Image

    return Image.fromarray(levels)
