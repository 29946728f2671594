"""The table on a terminal: whole words and figures at any width."""

from __future__ import annotations

import io

import pytest
from rich.console import Console
from zoo_eval.bootstrap import Figure
from zoo_eval.report.content import Report, Row
from zoo_eval.report.table import fitting_tables

FIGURES = {
    "Fréchet": Figure(8.5612, 5.79, 10.9),
    "Fréchet, n → ∞": Figure(0.0, 0.0, 2.38),
    "kernel distance": Figure(0.0, 0.0, 0.0622),
    "precision": Figure(1.0, 1.0, 1.0),
    "recall": Figure(0.917, 0.73, 1.0),
    "density": Figure(1.1, 0.857, 1.35),
    "authenticity": Figure(0.0, 0.0, 0.0),
}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_table_fits_with_every_word_and_figure(width: int) -> None:
    names = ["held-out", "stylegan2-digits --truncation 0.7", "\x1b]0;owned\x07"]
    rows = [Row(name, 1200, FIGURES, seconds=0.0123) for name in names]
    report = Report("data", 1000, "pixels", "Fréchet over pixels", rows, {}, "", (), "")
    screen = io.StringIO()
    for table in fitting_tables(report, width):
        Console(file=screen, width=width).print(table)
    lines = screen.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    assert "…" not in screen.getvalue()
    assert "\x1b" not in screen.getvalue()
    for text in (
        "Fréchet over pixels, n → ∞",
        "authenticity",
        "8.56",
        "5.79–10.9",
        "73.0–100.0%",
        "1,200",
        "0.0123",
    ):
        assert screen.getvalue().count(text) >= 1, text
    assert screen.getvalue().count("91.7%") == len(names)
