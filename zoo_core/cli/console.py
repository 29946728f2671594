"""How the verbs print: rich on a terminal, plain text in a pipe, JSON when asked."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON and nothing else.")


def print_json(value: Any) -> None:
    """Print one JSON value."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_list(values: Iterable[Any]) -> None:
    """Print a JSON list that may be long, an entry a line: so it takes a tenth of the time."""
    lines = [json.dumps(value, ensure_ascii=False) for value in values]
    click.echo("[\n" + ",\n".join(lines) + "\n]" if lines else "[]")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: fitted to the width of a terminal, in full in a pipe."""
    if not rows:
        return
    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for number, heading in enumerate(headings):
            # The first column holds the names one types; it is never cut.
            table.add_column(heading, no_wrap=number == 0, overflow="fold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        Console().print(table)
        return
    widths = [max(len(row[column]) for row in (headings, *rows)) for column in range(len(headings))]
    lines = [
        "  ".join([cell.ljust(width) for cell, width in zip(row, widths, strict=True)]).rstrip()
        for row in (headings, *rows)
    ]
    click.echo("\n".join(lines))  # once: thousands of rows take their time one by one


def print_fields(fields: Mapping[str, str]) -> None:
    """Print names and values, one a line, the values aligned; lines of a value stay under it."""
    width = max(len(name) for name in fields) + 2
    for name, value in fields.items():
        indented = value.replace("\n", "\n" + " " * width)
        click.echo(click.style(name.ljust(width), bold=True) + indented)


def say(message: str) -> None:
    """Tell a person at the terminal something that is not the result; a pipe's reader does not see it."""
    if sys.stderr.isatty():
        click.echo(message, err=True)


def megabytes(count: int) -> str:
    """A size as people read it, decimal as on Hub pages: ``4.3 MB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def count_of(number: int) -> str:
    """A number of parameters as people say it: ``35.7M``."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
