"""Line plots drawn with Pillow, for the loss curve."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

Points = Sequence[tuple[float, float]]

SIZE = (1000, 600)
LEFT, TOP, RIGHT, BOTTOM = 90, 30, 30, 60
INK, GRID = "#333333", "#e4e4e4"
COLOURS = (("#b9cfe8", "#1f5fa8"), ("#f3cdb0", "#c4560a"), ("#c5e3c1", "#2e7d32"), ("#dccbe8", "#6a3d9a"))
"""(raw, smoothed) per line, used in turn."""


@dataclass(frozen=True)
class Line:
    """A named line with raw and smoothed values."""

    name: str
    points: Points
    smoothed: Points
    marked: bool = False
    """Draw the raw values as dots."""


def ticks(low: float, high: float, about: int) -> list[float]:
    """Return about ``about`` round numbers in [low, high], 1, 2 or 5 times a power of ten apart."""
    if high <= low:
        return [low]
    rough = (high - low) / about
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * m for m in (1, 2, 5, 10) if power * m >= rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [step * i for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Return 1, 2 and 5 times the powers of ten in [low, high]; only the powers over six decades or more.

    Of a range with fewer than three of them: round numbers at equal distances.
    """
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    factors = (1, 2, 5) if len(decades) < 6 else (1,)
    marks = [m * 10.0**d for d in decades for m in factors if low <= m * 10.0**d <= high]
    return marks if len(marks) > 2 else ticks(low, high, 6)


@dataclass(frozen=True)
class Panel:
    """Lines that share a y-axis."""

    lines: Sequence[Line]
    logarithmic: bool = True
    """Use a logarithmic axis if every value is positive."""
    logarithmic_x: bool = False
    x_name: str = ""
    """Name of the x-axis, where it is not that of the plot."""


def draw_plot(path: Path, x_name: str, panels: Sequence[Panel]) -> None:
    """Write a PNG of the panels that have points, one below the other."""
    filled = [panel for panel in panels if any(line.points for line in panel.lines)]
    image = Image.new("RGB", (SIZE[0], SIZE[1] * max(1, len(filled))), "white")
    canvas = ImageDraw.Draw(image)
    if not filled:
        canvas.text((LEFT, TOP), "no metrics yet", INK, ImageFont.load_default(15))
    for index, panel in enumerate(filled):
        _draw_panel(canvas, SIZE[1] * index, x_name, panel)
    image.save(path)


def _draw_panel(canvas: ImageDraw.ImageDraw, above: int, x_name: str, panel: Panel) -> None:
    font = ImageFont.load_default(15)
    lines = panel.lines
    xs, ys = zip(*(point for line in lines for point in line.points), strict=True)
    x_low, x_high = min(xs), max(max(xs), min(xs) + 1)
    logarithmic = panel.logarithmic and min(ys) > 0
    scale = math.log10 if logarithmic else float
    y_low, y_high = min(ys), max(ys)
    margin = 1.05 if logarithmic else 0.05 * (y_high - y_low or 1)
    y_low, y_high = (y_low / margin, y_high * margin) if logarithmic else (y_low - margin, y_high + margin)
    scale_x = math.log10 if panel.logarithmic_x else float
    width, height = SIZE[0] - LEFT - RIGHT, SIZE[1] - TOP - BOTTOM
    top = above + TOP
    bottom = top + height

    def place(point: tuple[float, float]) -> tuple[float, float]:
        x, y = point
        across = (scale_x(x) - scale_x(x_low)) / (scale_x(x_high) - scale_x(x_low))
        up = (scale(y) - scale(y_low)) / (scale(y_high) - scale(y_low))
        return LEFT + across * width, bottom - up * height

    for y in log_ticks(y_low, y_high) if logarithmic else ticks(y_low, y_high, 6):
        _, level = place((x_low, y))
        canvas.line([(LEFT, level), (LEFT + width, level)], GRID)
        canvas.text((LEFT - 10, level), f"{y:.3g}", INK, font, anchor="rm")
    for x in log_ticks(x_low, x_high) if panel.logarithmic_x else ticks(x_low, x_high, 8):
        column, _ = place((x, y_low))
        canvas.line([(column, top), (column, bottom)], GRID)
        canvas.text((column, bottom + 8), f"{x:,g}", INK, font, anchor="ma")
    canvas.text((LEFT + width / 2, above + SIZE[1] - 12), panel.x_name or x_name, INK, font, anchor="md")

    for i, line in enumerate(lines):
        pale, strong = COLOURS[i % len(COLOURS)]
        if line.marked:
            for x, y in map(place, line.points):
                canvas.ellipse([x - 5, y - 5, x + 5, y + 5], strong)
        else:
            canvas.line([place(point) for point in line.points], pale, 1)
        canvas.line([place(point) for point in line.smoothed], strong, 3, joint="curve")
        canvas.text((LEFT + width - 8, top + 8 + 22 * i), line.name, strong, font, anchor="ra")
    canvas.rectangle([LEFT, top, LEFT + width, bottom], outline=INK)
