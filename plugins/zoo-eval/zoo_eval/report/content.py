"""The content of a report, whether table, JSON or page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from zoo_eval.bootstrap import Figure

SCHEMA = 1


@dataclass(frozen=True)
class Row:
    """One set of samples."""

    name: str
    count: int
    figures: Mapping[str, Figure]
    model: str | None = None
    """The model's id; None for held-out data and folders."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Model options that were given."""
    swept: str | None = None
    """The option that a sweep varies."""
    seconds: float | None = None
    """Time to make one sample."""
    sheet: bytes | None = None
    """A PNG of some samples."""
    pairs: bytes | None = None
    """A PNG of the samples closest to training images, each above its nearest one."""
    texts: Sequence[str] = ()
    """Some samples."""

    def to_json(self) -> dict[str, Any]:
        """Return JSON data, without images."""
        return {
            "name": self.name,
            "model": self.model,
            "options": dict(self.options),
            "swept": self.swept,
            "count": self.count,
            "seconds_per_sample": self.seconds,
            "figures": {name: figure.to_json() for name, figure in self.figures.items()},
        }


@dataclass(frozen=True)
class Report:
    """The rows of an evaluation, with the data and the methods used."""

    data: str
    count: int
    """Number of items in the data."""
    extractor: str
    frechet: str
    """Name of the Fréchet distance over these features."""
    rows: Sequence[Row]
    likelihoods: Mapping[str, Mapping[str, Figure]]
    """Likelihood figures by model id, for models that can compute them."""
    scored: str
    """Description of the items whose likelihood was computed."""
    conventions: Sequence[str]
    """Notes on the methods, in sentences."""
    command: str

    def to_json(self) -> dict[str, Any]:
        """Return JSON data, without images."""
        return {
            "schema": SCHEMA,
            "data": {"name": self.data, "count": self.count},
            "extractor": self.extractor,
            "frechet": self.frechet,
            "rows": [row.to_json() for row in self.rows],
            "likelihood": {
                "of": self.scored,
                "models": {
                    model: {name: figure.to_json() for name, figure in figures.items()}
                    for model, figures in self.likelihoods.items()
                },
            },
            "conventions": list(self.conventions),
            "command": self.command,
        }

    @property
    def names(self) -> list[str]:
        """Names of all figures, in order of first occurrence."""
        return list(dict.fromkeys(name for row in self.rows for name in row.figures))


PERCENTAGES = frozenset(
    {"precision", "recall", "coverage", "label accuracy", "closer than held-out", "authenticity"}
    | {f"new {n}-grams" for n in range(1, 20)}
)
"""Figures shown in percent."""


def format_value(name: str, value: float) -> str:
    """Return a figure's value as text."""
    if name in PERCENTAGES:
        return f"{100 * value:.1f}%"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def format_interval(name: str, figure: Figure) -> str:
    """Return a figure's interval as text."""
    low, high = format_value(name, figure.low).removesuffix("%"), format_value(name, figure.high)
    return f"{low} to {high}" if low.startswith("-") or high.startswith("-") else f"{low}–{high}"
