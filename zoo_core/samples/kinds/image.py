"""Images: (c, h, w), floats in [-1, 1], with 1, 3 or 4 channels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.samples.images import (
    ANIMATIONS,
    STILLS,
    decode,
    encode_animation,
    encode_still,
    image_in,
    to_bytes,
    to_image,
)
from zoo_core.samples.kinds.kind import Kind, unit_range_problem
from zoo_core.samples.match import Match

if TYPE_CHECKING:
    import numpy as np
    import torch
    from PIL.Image import Image

    from zoo_core.samples.sample import Sample

ROUNDING = 1
"""Levels (of 255) by which rounding alone can change a pixel."""


class ImageKind(Kind):
    """Images."""

    name = "image"
    suffixes = STILLS + ANIMATIONS
    image_suffixes = (".png", *ANIMATIONS)

    def problem(self, rows: Any) -> str | None:
        """Require (n, c, h, w) with 1, 3 or 4 channels."""
        import torch

        if not isinstance(rows, torch.Tensor):
            return f"a {type(rows).__name__} where a tensor belongs"
        if rows.ndim != 4 or rows.shape[1] not in (1, 3, 4):
            return f"images of shape {tuple(rows.shape)}, not (n, c, h, w)"
        return None

    def out_of_range(self, rows: torch.Tensor) -> str | None:
        """Require [-1, 1]."""
        return unit_range_problem(rows)

    def encode(self, sample: Sample, suffix: str) -> bytes:
        """Return a still image, or the animation of the steps."""
        if suffix in ANIMATIONS:
            return encode_animation(self.film(sample), suffix, sample.record)
        return encode_still(sample.image, suffix, sample.record)

    def compare(self, path: Path, again: Sample) -> Match:
        """Compare pixels."""
        return compare_encoded(path, self.encode(again, path.suffix.lower()))

    def image(self, sample: Sample) -> Image:
        """Return the image itself, in 8 bits."""
        assert sample.tensor is not None
        return to_image(to_bytes(sample.tensor))

    def previews(self, rows: torch.Tensor) -> np.ndarray[Any, Any]:
        """Keep 8-bit levels."""
        return to_bytes(rows)

    def film(self, sample: Sample) -> Sequence[Image]:
        """Return the previews and the image."""
        return [*map(to_image, sample.frames), sample.image]


def compare_encoded(path: Path, data: bytes) -> Match:
    """Compare an image file with the content it would have now; of animations, the last frame."""
    new = image_in(data)
    return compare_images(decode(path, new.size), decode(io.BytesIO(data), new.size))


def compare_images(old: Image | None, new: Image | None) -> Match:
    """Compare pixels; None is an image of another size."""
    if old is None or new is None or old.size != new.size:
        return Match("different", "The images differ in size.")
    levels = _largest_difference(old, new)
    if levels == 0:
        return Match("identical", "The image is the same, pixel for pixel.", 0)
    apart = f"the largest difference is {levels} of 255 levels"
    if levels <= ROUNDING:
        return Match("rounding", f"The image is the same within rounding: {apart}.", levels)
    return Match("different", f"The images differ: {apart}.", levels)


def _largest_difference(one: Image, other: Image) -> int:
    """Return the largest difference in 8-bit levels; modes are compared as RGBA."""
    import numpy as np

    levels = [np.asarray(image.convert("RGBA"), dtype=np.int16) for image in (one, other)]
    return int(np.abs(levels[0] - levels[1]).max())
