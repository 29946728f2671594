"""Inline SVG plots: dots with intervals, scatter plots, curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape

from zoo_eval.bootstrap import Figure

WIDTH, HEIGHT = 420, 300
LEFT, RIGHT, TOP, BOTTOM = 52, 12, 28, 40
COLOURS = ("#3366cc", "#dc3912", "#109618", "#990099", "#ff9900", "#0099c6", "#8b5a2b", "#555555")
"""One per model, in turn."""

Named = Sequence[tuple[str, str, Figure]]
"""Name, colour and figure."""


@dataclass(frozen=True)
class Axis:
    """Maps values to pixels along one axis of a plot."""

    low: float
    high: float
    start: float
    """Pixel of ``low``; ``stop`` is that of ``high``."""
    stop: float
    logarithmic: bool = False

    @classmethod
    def of(cls, values: Sequence[float], start: float, stop: float, *, logarithmic: bool = False) -> Axis:
        """Return an axis with a margin around the values."""
        low, high = min(values), max(values)
        if logarithmic and low > 0:
            return cls(low / 1.15, high * 1.15, start, stop, True)
        room = (high - low) * 0.06 or abs(high) * 0.1 or 1.0
        return cls(min(0.0, low) if 0 <= low < high / 2 else low - room, high + room, start, stop)

    def at(self, value: float) -> float:
        """Return the pixel of a value."""
        if self.logarithmic:
            share = math.log(value / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    @property
    def ticks(self) -> list[float]:
        """About five round values on the axis."""
        if self.logarithmic:
            exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [m * 10.0**e for e in exponents for m in (1, 2, 5)]
            return [tick for tick in found if self.low <= tick <= self.high]
        rough = (self.high - self.low) / 5
        unit = 10 ** math.floor(math.log10(rough))
        step = next(m * unit for m in (1, 2, 5, 10) if m * unit >= rough)
        first = math.ceil(self.low / step)
        return [i * step for i in range(first, math.floor(self.high / step) + 1)]


def dots(title: str, entries: Named) -> str:
    """Plot one line per entry: a dot for the value on its interval."""
    height = TOP + BOTTOM + 18 * len(entries)
    left = 16 + 6.2 * max(len(name) for name, _, _ in entries)
    bounds = [bound for _, _, f in entries for bound in (f.low, f.high, f.value)]
    axis = Axis.of(bounds, left, WIDTH - RIGHT)
    parts = [_across(axis, height - BOTTOM)]
    for number, (name, colour, figure) in enumerate(entries):
        y = TOP + 18 * number + 9
        parts.append(f'<text x="{left - 8:.0f}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        parts.append(_line(axis.at(figure.low), y, axis.at(figure.high), y, colour))
        parts.append(_dot(axis.at(figure.value), y, colour, name))
    return _svg(title, height, parts)


def scatter(title: str, names: tuple[str, str], entries: Sequence[tuple[str, str, Figure, Figure]]) -> str:
    """Plot entries by two figures, with both intervals."""
    x_axis = Axis.of([b for _, _, x, _ in entries for b in (x.low, x.high)], LEFT, WIDTH - RIGHT)
    y_axis = Axis.of([b for _, _, _, y in entries for b in (y.low, y.high)], HEIGHT - BOTTOM, TOP)
    parts = [_across(x_axis, HEIGHT - BOTTOM), _down(y_axis), _names(*names)]
    for name, colour, x, y in entries:
        across, up = x_axis.at(x.value), y_axis.at(y.value)
        parts.append(_line(x_axis.at(x.low), up, x_axis.at(x.high), up, colour))
        parts.append(_line(across, y_axis.at(y.low), across, y_axis.at(y.high), colour))
        parts.append(_dot(across, up, colour, name))
    return _svg(title, HEIGHT, parts)


def curves(
    title: str,
    names: tuple[str, str],
    lines: Mapping[str, tuple[str, Sequence[tuple[float, Figure]]]],
    *,
    logarithmic: bool = False,
) -> str:
    """Plot one curve with its interval band per name.

    Args:
        title: Title of the plot.
        names: Names of the axes.
        lines: Colour and (x, figure) by name.
        logarithmic: Use a logarithmic x-axis.
    """
    xs = [x for _, points in lines.values() for x, _ in points]
    ys = [bound for _, points in lines.values() for _, f in points for bound in (f.low, f.high)]
    x_axis = Axis.of(xs, LEFT, WIDTH - RIGHT, logarithmic=logarithmic and min(xs) > 0)
    y_axis = Axis.of(ys, HEIGHT - BOTTOM, TOP)
    parts = [_across(x_axis, HEIGHT - BOTTOM), _down(y_axis), _names(*names)]
    for number, (name, (colour, unsorted)) in enumerate(lines.items()):
        points = sorted(unsorted, key=lambda point: point[0])
        upper = [f"{x_axis.at(x):.1f},{y_axis.at(f.high):.1f}" for x, f in points]
        lower = [f"{x_axis.at(x):.1f},{y_axis.at(f.low):.1f}" for x, f in reversed(points)]
        middle = [f"{x_axis.at(x):.1f},{y_axis.at(f.value):.1f}" for x, f in points]
        parts.append(f'<polygon points="{" ".join(upper + lower)}" fill="{colour}" opacity="0.15"/>')
        parts.append(
            f'<polyline points="{" ".join(middle)}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
        )
        parts += [
            _dot(x_axis.at(x), y_axis.at(f.value), colour, f"{name}, {x:g}: {f.value:.4g}") for x, f in points
        ]
        y = TOP + 12 + 14 * number
        parts.append(_dot(WIDTH - RIGHT - 6, y - 4, colour, name))
        parts.append(f'<text x="{WIDTH - RIGHT - 14}" y="{y}" text-anchor="end">{escape(name)}</text>')
    return _svg(title, HEIGHT, parts)


def _svg(title: str, height: int, parts: Sequence[str]) -> str:
    head = f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">'
    return f'{head}<text x="{LEFT}" y="16" class="title">{escape(title)}</text>{"".join(parts)}</svg>'


def _across(axis: Axis, y: float) -> str:
    parts = [f'<line x1="{axis.start:.1f}" y1="{y}" x2="{axis.stop:.1f}" y2="{y}" class="axis"/>']
    for tick in axis.ticks:
        x = axis.at(tick)
        parts.append(f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{TOP}" class="grid"/>')
        parts.append(f'<text x="{x:.1f}" y="{y + 14}" text-anchor="middle">{tick:g}</text>')
    return "".join(parts)


def _down(axis: Axis) -> str:
    parts = []
    for tick in axis.ticks:
        y = axis.at(tick)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" class="grid"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{y + 4:.1f}" text-anchor="end">{tick:g}</text>')
    return "".join(parts)


def _names(across: str, up: str) -> str:
    middle, centre = (HEIGHT - BOTTOM + TOP) / 2, (LEFT + WIDTH - RIGHT) / 2
    return (
        f'<text x="{centre}" y="{HEIGHT - 8}" text-anchor="middle">{escape(across)}</text>'
        f'<text transform="translate(12 {middle}) rotate(-90)" text-anchor="middle">{escape(up)}</text>'
    )


def _line(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    place = f'x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"'
    return f'<line {place} stroke="{colour}" stroke-width="2" opacity="0.5"/>'


def _dot(x: float, y: float, colour: str, name: str) -> str:
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{colour}"><title>{escape(name)}</title></circle>'
