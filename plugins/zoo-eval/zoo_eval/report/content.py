"""What a report says, before it is a table, JSON or a page."""

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
    """The model's id; None for data and folders."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """What was set of the model's options."""
    swept: str | None = None
    """The option that differs from row to row of this model."""
    seconds: float | None = None
    """Time to draw one sample."""
    sheet: bytes | None = None
    """A PNG of some of its images."""
    pairs: bytes | None = None
    """A PNG of the images nearest to the training data, each above its neighbour."""
    texts: Sequence[str] = ()
    """Some of its texts."""

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON, images left out."""
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
    """All rows, what they are measured against, and how."""

    data: str
    count: int
    """Items of the data."""
    extractor: str
    frechet: str
    """What the Fréchet distance over the extractor's features is called."""
    rows: Sequence[Row]
    likelihoods: Mapping[str, Mapping[str, Figure]]
    """Of the models that can say how likely data are, by id."""
    scored: str
    """What was scored."""
    conventions: Sequence[str]
    """How everything was measured, in sentences."""
    command: str

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON, images left out."""
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
        """The figures that any row has, in the order in which they first occur."""
        return list(dict.fromkeys(name for row in self.rows for name in row.figures))


SHARES = frozenset(
    {"precision", "recall", "coverage", "read as label", "closer than held-out", "authenticity"}
    | {f"new {n}-grams" for n in range(1, 20)}
)
"""Figures that are told in percent."""


def told(name: str, value: float) -> str:
    """Return a figure's value as people read it."""
    if name in SHARES:
        return f"{100 * value:.1f}%"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:,.0f}"


def told_interval(name: str, figure: Figure) -> str:
    """Return a figure's interval as people read it."""
    low, high = told(name, figure.low).removesuffix("%"), told(name, figure.high)
    return f"{low} to {high}" if low.startswith("-") or high.startswith("-") else f"{low}–{high}"
