"""Pictures for the page: some samples, and those nearest to the training data above their neighbours."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from zoo_eval.copying import Nearest
from zoo_eval.data import Pictures, as_picture

SAMPLES, PAIRS = 32, 12
COLUMNS = 16
LARGEST = 64
"""Larger pictures are made smaller: the page is to be sent around."""


def some_samples(items: Pictures) -> bytes:
    """Return a PNG of some pictures, taken from all over."""
    count = min(SAMPLES, len(items))
    return _png([as_picture(items.read(i * len(items) // count)) for i in range(count)], COLUMNS)


def closest_pairs(items: Pictures, data: Pictures, found: Nearest) -> bytes:
    """Return a PNG of the pictures nearest to the data, the nearest first, above their neighbours."""
    order = found.distances.argsort(stable=True)[:PAIRS].tolist()
    upper = [as_picture(items.read(place)) for place in order]
    lower = [as_picture(data.read(int(found.places[place]))) for place in order]
    return _png(upper + lower, len(order))


def _png(pictures: Sequence[Image.Image], columns: int) -> bytes:
    mode = "L" if all(picture.mode == "L" for picture in pictures) else "RGB"
    widest, highest = (max(picture.size[axis] for picture in pictures) for axis in (0, 1))
    share = min(1.0, LARGEST / max(widest, highest))
    width, height = max(1, round(widest * share)), max(1, round(highest * share))
    rows = -(-len(pictures) // columns)
    sheet = Image.new(mode, (columns * (width + 1) - 1, rows * (height + 1) - 1), "white")
    for place, picture in enumerate(pictures):
        if picture.size != (width, height):
            picture = picture.resize((width, height), Image.Resampling.LANCZOS)
        row, column = divmod(place, columns)
        sheet.paste(picture.convert(mode), (column * (width + 1), row * (height + 1)))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()
