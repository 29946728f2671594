"""Contact sheets for the page: some samples, and the samples closest to training images."""

from __future__ import annotations

import io
from collections.abc import Sequence

from PIL import Image

from zoo_eval.data import Images, as_image
from zoo_eval.memorization import Nearest

SAMPLES, PAIRS = 32, 12
COLUMNS = 16
LARGEST = 64
"""Larger images are scaled down to keep the page small."""


def some_samples(items: Images) -> bytes:
    """Return a PNG of some images, evenly spaced over the set."""
    count = min(SAMPLES, len(items))
    return _png([as_image(items.read(i * len(items) // count)) for i in range(count)], COLUMNS)


def closest_pairs(items: Images, data: Images, found: Nearest) -> bytes:
    """Return a PNG of the images closest to the data, closest first, each above its nearest one."""
    order = found.distances.argsort(stable=True)[:PAIRS].tolist()
    upper = [as_image(items.read(place)) for place in order]
    lower = [as_image(data.read(int(found.indices[place]))) for place in order]
    return _png(upper + lower, len(order))


def _png(images: Sequence[Image.Image], columns: int) -> bytes:
    mode = "L" if all(image.mode == "L" for image in images) else "RGB"
    widest, highest = (max(image.size[axis] for image in images) for axis in (0, 1))
    share = min(1.0, LARGEST / max(widest, highest))
    width, height = max(1, round(widest * share)), max(1, round(highest * share))
    rows = -(-len(images) // columns)
    sheet = Image.new(mode, (columns * (width + 1) - 1, rows * (height + 1) - 1), "white")
    for place, image in enumerate(images):
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.LANCZOS)
        row, column = divmod(place, columns)
        sheet.paste(image.convert(mode), (column * (width + 1), row * (height + 1)))
    file = io.BytesIO()
    sheet.save(file, "PNG", optimize=True)
    return file.getvalue()
