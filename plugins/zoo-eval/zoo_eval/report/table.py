"""Print the report on a terminal."""

from __future__ import annotations

import sys

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from zoo_eval.report.content import Report, format_interval, format_value

PIPE_WIDTH = 1000
"""Width of the table in a pipe, so that lines are not wrapped."""


def print_tables(report: Report) -> None:
    """Print a row per set of samples with a column per figure, then the likelihoods."""
    console = Console(width=None if sys.stdout.isatty() else PIPE_WIDTH)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in report.names:
        table.add_column(name.replace("Fréchet", report.frechet), justify="right")
    table.add_column("n", justify="right")
    table.add_column("s/sample", justify="right")
    for row in report.rows:
        cells = [Text(row.name)]
        for name in report.names:
            figure = row.figures.get(name)
            cell = Text(format_value(name, figure.value) if figure else "")
            if figure:
                cell.append(f"\n{format_interval(name, figure)}", style="dim")
            cells.append(cell)
        cells += [Text(f"{row.count:,}"), Text(f"{row.seconds:.3g}" if row.seconds else "")]
        table.add_row(*cells)
    console.print(table)
    for model, figures in report.likelihoods.items():
        words = [
            f"{name} {format_value(name, f.value)} ({format_interval(name, f)})"
            for name, f in figures.items()
        ]
        console.print(f"{model} on {report.scored}: {', '.join(words)}", highlight=False)
