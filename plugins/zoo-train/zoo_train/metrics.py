"""Metrics of a run: losses and other figures, logged as JSON lines and plotted."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import torch

from zoo_train.plot import Line, Panel, draw_plot

MINIMISED = ("loss", "penalty")
"""Metrics whose names end so are minimised and are plotted on a logarithmic axis."""
SMOOTHING_RADIUS = 15
"""Lines on either side of each point in the running median."""


class MetricsLog:
    """Log of the metrics of every step, averaged over ``every`` steps per line of ``curve.jsonl``.

    Args:
        folder: Folder for ``curve.jsonl`` and ``curve.png``.
        every: Steps per line.
    """

    def __init__(self, folder: Path, every: int) -> None:
        self.file = folder / "curve.jsonl"
        self.image = folder / "curve.png"
        self.every = every
        self._window: list[dict[str, torch.Tensor]] = []

    def add(self, step: int, metrics: Mapping[str, torch.Tensor], rate: float) -> dict[str, float] | None:
        """Add the metrics of the ``step``-th step (from 1); return the line that it completes, if any."""
        self._window.append({name: value.detach().float() for name, value in metrics.items()})
        if step % self.every:
            return None
        line = {"step": step, **self._means(), "lr": rate}
        self._window.clear()
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
        return line

    def _means(self) -> dict[str, float]:
        """Return the mean of each metric over the steps that have it."""
        values: dict[str, list[float]] = {}
        for metrics in self._window:
            for name, value in metrics.items():
                values.setdefault(name, []).append(float(value))
        return {name: sum(each) / len(each) for name, each in values.items()}

    def state(self) -> list[dict[str, torch.Tensor]]:
        """Return the metrics of the steps since the last line, for a checkpoint."""
        return [{name: value.cpu() for name, value in metrics.items()} for metrics in self._window]

    def restore(self, step: int, state: list[dict[str, torch.Tensor]]) -> None:
        """Return to the state after ``step`` steps; remove later lines from the file."""
        self._window = list(state)
        lines = [line for line in self.lines() if line["step"] <= step]
        self.file.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")

    def lines(self) -> list[dict[str, Any]]:
        """Return the complete lines of the file; a killed run may have left half a line at its end."""
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
        """Write ``curve.png``: every metric, raw and smoothed.

        Losses and penalties are in the upper panel, on a logarithmic axis; other metrics are below.
        """
        lines = self.lines()
        names = dict.fromkeys(name for line in lines for name in line if name not in ("step", "lr"))
        minimised: list[Line] = []
        others: list[Line] = []
        for name in names:
            points = [(line["step"], line[name]) for line in lines if math.isfinite(line.get(name, math.nan))]
            panel = minimised if name.endswith(MINIMISED) else others
            panel.append(Line(name, points, _smooth(points)))
        draw_plot(self.image, "step", [Panel(minimised), Panel(others, logarithmic=False)])


def _smooth(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the running median. Its window shrinks towards both ends, so that it stays centred."""
    smoothed = []
    for i, (x, _) in enumerate(points):
        radius = min(i, len(points) - 1 - i, SMOOTHING_RADIUS)
        smoothed.append((x, median(y for _, y in points[i - radius : i + radius + 1])))
    return smoothed
