"""Small plots of samples that are no images, drawn with Pillow: scatter plots, waveforms, histograms."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from PIL.Image import Image
    from PIL.ImageDraw import ImageDraw

    Array = np.ndarray[Any, Any]
    Box = tuple[float, float, float, float]
    """The range of the axes: left, bottom, right, top."""

SIDE = 256
"""Side of a scatter plot in pixels; a waveform is as wide and half as high."""
_MARGIN, _TEXT = 18, 10
_BLUE, _GREY = (31, 119, 180), (150, 150, 150)
_FINE = 2
"""Plots are drawn larger by this factor and reduced, so that edges are smooth."""
BINS = 40


def box_of(clouds: Iterable[Array]) -> Box:
    """Return axes that fit the first two dimensions of clouds (count, dimensions), with equal scales."""
    import numpy as np

    points = np.concatenate([cloud[:, :2] for cloud in clouds])
    if points.shape[1] == 1:
        low, high = float(points.min()), float(points.max())
        return (low, 0.0, high if high > low else low + 1.0, 1.0)
    # Outliers would make the rest a dot: a thousandth at each end may lie outside.
    low_high = np.quantile(points, (0.001, 0.999), axis=0).astype(float)
    center, half = low_high.mean(axis=0), max(float(np.ptp(low_high, axis=0).max()) * 0.55, 1e-6)
    return (center[0] - half, center[1] - half, center[0] + half, center[1] + half)


def scatter(points: Array, box: Box) -> Image:
    """Plot points (count, dimensions): the first two dimensions, or the histogram of the only one."""
    if points.shape[1] == 1:
        return _panel(lambda draw, place: _bars(draw, place, points[:, 0], box), box, SIDE)
    return _panel(lambda draw, place: _dots(draw, place, points[:, :2], box), box, SIDE)


def waveform(audio: Array) -> Image:
    """Plot audio (length, channels) in [-1, 1]: a row per channel, the range of each column of pixels."""
    from PIL import Image, ImageDraw

    image = Image.new("RGB", (SIDE, SIDE // 2), "white")
    draw = ImageDraw.Draw(image)
    height = image.height / audio.shape[1]
    for channel in range(audio.shape[1]):
        middle = (channel + 0.5) * height
        draw.line((0, middle, SIDE, middle), _GREY)
        for x in range(SIDE):
            start = x * len(audio) // SIDE
            part = audio[start : max((x + 1) * len(audio) // SIDE, start + 1), channel]
            top, bottom = middle - part.max() * height * 0.48, middle - part.min() * height * 0.48
            draw.line((x, top, x, bottom), _BLUE)
    return image


def histograms(columns: Mapping[str, Sequence[float | int | str]]) -> Image:
    """Plot a histogram of each column: of numbers in bins, of texts by how often each occurs."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    across = math.ceil(math.sqrt(len(columns)))
    side = SIDE // 2
    sheet = Image.new("RGB", (across * side, math.ceil(len(columns) / across) * (side + _TEXT + 4)), "white")
    font = ImageFont.load_default(_TEXT)
    for i, (name, values) in enumerate(columns.items()):
        if isinstance(values[0], str):
            known = sorted(set(map(str, values)))
            numbers = np.array([known.index(str(value)) for value in values], float)
        else:
            numbers = np.array(values, float)
        box = box_of([numbers[:, None]])
        panel = _panel(lambda draw, place, n=numbers, b=box: _bars(draw, place, n, b), box, side)
        x, y = i % across * side, i // across * (side + _TEXT + 4)
        sheet.paste(panel, (x, y + _TEXT + 4))
        ImageDraw.Draw(sheet).text((x + 4, y + 1), "".join(filter(str.isprintable, name))[:20], "black", font)
    return sheet


def _panel(fill: Any, box: Box, side: int) -> Image:
    """Return axes with their ranges, filled by ``fill(draw, place)``; ``place`` is their box in pixels."""
    from PIL import Image, ImageDraw, ImageFont

    large = Image.new("RGB", (side * _FINE, side * _FINE), "white")
    edge = _MARGIN * _FINE
    place = (edge, 4 * _FINE, side * _FINE - 4 * _FINE, side * _FINE - edge)
    draw = ImageDraw.Draw(large)
    fill(draw, place)
    draw.rectangle(place, outline=_GREY, width=_FINE)
    image = large.resize((side, side), Image.Resampling.BOX)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_TEXT)
    left, bottom, right, top = (f"{value:.3g}" for value in box)
    draw.text((_MARGIN, side - _MARGIN + 3), left, "black", font)
    draw.text((side - 4, side - _MARGIN + 3), right, "black", font, anchor="ra")
    turned = Image.new("L", (side, _TEXT + 4), 255)
    sideways = ImageDraw.Draw(turned)
    sideways.text((_MARGIN, 1), bottom if box[1] else "", "black", font)
    sideways.text((side - 4, 1), top if box[1] else "", "black", font, anchor="ra")
    image.paste(turned.rotate(90, expand=True).convert("RGB"), (1, 0))
    return image


def _dots(draw: ImageDraw, place: Box, points: Array, box: Box) -> None:
    """Draw a dot per point; the more points, the smaller."""
    left, top, right, bottom = place
    x = left + (points[:, 0] - box[0]) / (box[2] - box[0]) * (right - left)
    y = bottom - (points[:, 1] - box[1]) / (box[3] - box[1]) * (bottom - top)
    radius = (1 if len(points) > 2000 else 1.5 if len(points) > 200 else 3) * _FINE / 2
    inside = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    for a, b in zip(x[inside].tolist(), y[inside].tolist(), strict=True):
        draw.ellipse((a - radius, b - radius, a + radius, b + radius), fill=_BLUE)


def _bars(draw: ImageDraw, place: Box, values: Array, box: Box) -> None:
    """Draw a histogram."""
    import numpy as np

    left, top, right, bottom = place
    counts, _ = np.histogram(values, BINS, (box[0], box[2]))
    width = (right - left) / BINS
    for i, count in enumerate(counts / max(counts.max(), 1)):
        draw.rectangle(
            (left + i * width, bottom - count * (bottom - top) * 0.95, left + (i + 1) * width, bottom),
            fill=_BLUE,
        )
