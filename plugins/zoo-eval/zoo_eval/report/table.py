"""Print the report on a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from zoo_core import visible
from zoo_eval.report.content import Report, Row, format_interval, format_value

PIPE_WIDTH = 1000
"""Width of the table in a pipe, so that lines are not wrapped."""


def print_tables(report: Report) -> None:
    """Print a row per set of samples with a column per figure, then the likelihoods.

    On a terminal too narrow for that, print a row per figure with a column per set.
    """
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    for table in fitting_tables(report, console.width):
        console.print(table)
    for model, figures in report.likelihoods.items():
        words = [
            f"{name} {format_value(name, f.value)} ({format_interval(name, f)})"
            for name, f in figures.items()
        ]
        console.print(f"{model} on {report.scored}: {', '.join(words)}", highlight=False)


def fitting_tables(report: Report, width: int) -> Iterator[Table]:
    """Yield tables no wider than ``width`` columns: one, or several with as many sets as fit."""
    table = _by_set(report)
    if _width(table) <= width:
        yield table
        return
    rows = report.rows
    while rows:
        fits = (n for n in range(min(len(rows), 8), 1, -1) if _width(_by_figure(report, rows[:n])) <= width)
        count = next(fits, 1)
        yield _by_figure(report, rows[:count])
        rows = rows[count:]


def _width(table: Table) -> int:
    console = Console(width=PIPE_WIDTH)
    return Measurement.get(console, console.options, table).maximum


def _by_set(report: Report) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for heading in (*(_title(report, name) for name in report.names), "n", "s/sample"):
        table.add_column(heading, justify="right")
    for row in report.rows:
        table.add_row(
            visible(row.name), *(_cell(row, name, "\n") for name in report.names), _count(row), _seconds(row)
        )
    return table


def _by_figure(report: Report, rows: Sequence[Row]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("")
    for row in rows:
        table.add_column(Text(visible(row.name), overflow="fold"))
    for name in report.names:
        table.add_row(_title(report, name), *(_cell(row, name, "  ") for row in rows))
    table.add_row("n", *map(_count, rows))
    if any(row.seconds for row in rows):
        table.add_row("s/sample", *map(_seconds, rows))
    return table


def _title(report: Report, name: str) -> str:
    return name.replace("Fréchet", report.frechet)


def _cell(row: Row, name: str, between: str) -> Text:
    """Return a figure and its interval; empty if the set has no such figure."""
    figure = row.figures.get(name)
    if figure is None:
        return Text("")
    return Text.assemble(
        format_value(name, figure.value), (f"{between}{format_interval(name, figure)}", "dim")
    )


def _count(row: Row) -> str:
    return f"{row.count:,}"


def _seconds(row: Row) -> str:
    return f"{row.seconds:.3g}" if row.seconds else ""
