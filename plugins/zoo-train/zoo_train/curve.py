"""The loss curve of a run: one line of JSON every so many steps, and an image of it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

from zoo_train.plot import Line, Panel, draw_plot

DESCENDED = ("loss", "penalty")
"""How the names of figures end that are descended, and so never below nought."""
REACH = 15
"""Lines on either side that the smoothed curve takes the median of."""


class Curve:
    """Figures of every step, averaged over windows of ``every`` steps into ``curve.jsonl``.

    Args:
        folder: Where ``curve.jsonl`` and ``curve.png`` are written.
        every: Steps per line.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.file = folder / "curve.jsonl"
        self.image = folder / "curve.png"
        self.every = every
        self._window: list[dict[str, torch.Tensor]] = []

    def add(self, step: int, figures: Mapping[str, torch.Tensor], rate: float) -> dict[str, float] | None:
        """Take the figures of a step, after which ``step`` steps are done; return the line it completes."""
        self._window.append({name: value.detach().float() for name, value in figures.items()})
        if step % self.every:
            return None
        line = {"step": step, **self._means(), "lr": rate}
        self._window.clear()
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line

    def _means(self) -> dict[str, float]:
        """The mean of each figure over the steps that have it."""
        values: dict[str, list[float]] = {}
        for figures in self._window:
            for name, value in figures.items():
                values.setdefault(name, []).append(float(value))
        return {name: sum(each) / len(each) for name, each in values.items()}

    def state(self) -> list[dict[str, torch.Tensor]]:
        """The figures of the steps since the last line, for a checkpoint."""
        return [{name: value.cpu() for name, value in figures.items()} for figures in self._window]

    def restore(self, step: int, state: list[dict[str, torch.Tensor]]) -> None:
        """Go back to where a run was after ``step`` steps: later lines are dropped from the file."""
        self._window = list(state)
        lines = [line for line in self.lines() if line["step"] <= step]
        self.file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def lines(self) -> list[dict[str, Any]]:
        """Every whole line of the file; a kill may have left half of one at its end."""
        if not self.file.exists():
            return []
        lines = []
        for text in self.file.read_text(encoding="utf-8").splitlines():
            try:
                lines.append(json.loads(text))
            except json.JSONDecodeError:
                break
        return lines

    def draw(self) -> None:
        """Write ``curve.png``: every figure, as measured and smoothed.

        Losses and penalties are above, on a logarithmic axis; what else a trainable tells is below.
        """
        lines = self.lines()
        names = dict.fromkeys(name for line in lines for name in line if name not in ("step", "lr"))
        descended: list[Line] = []
        told: list[Line] = []
        for name in names:
            points = [(line["step"], line[name]) for line in lines if math.isfinite(line.get(name, math.nan))]
            of = descended if name.endswith(DESCENDED) else told
            of.append(Line(name, points, _smooth(points)))
        draw_plot(self.image, "step", [Panel(descended), Panel(told, logarithmic=False)])


def _smooth(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The median of a window around each point; it shrinks towards both ends, to lag behind nowhere."""
    smoothed = []
    for i, (x, _) in enumerate(points):
        reach = min(i, len(points) - 1 - i, REACH)
        smoothed.append((x, median(y for _, y in points[i - reach : i + reach + 1])))
    return smoothed
