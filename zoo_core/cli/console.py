"""Printing for all commands: rich on a terminal, plain text in a pipe, JSON if requested."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

from zoo_core.errors import ZooError

device_option = click.option(
    "--device", metavar="DEVICE", default="auto", help="auto, cpu, cuda, cuda:1 or mps.", show_default=True
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON only.")


def print_json(value: Any) -> None:
    """Print one JSON value."""
    click.echo(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_list(values: Iterable[Any]) -> None:
    """Print a long JSON list with one entry a line, ten times as fast as indented."""
    lines = [json.dumps(value, ensure_ascii=False) for value in values]
    click.echo("[\n" + ",\n".join(lines) + "\n]" if lines else "[]")


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, wrapped to the width of a terminal, in full in a pipe."""
    if not rows:
        return
    if sys.stdout.isatty():
        from rich.box import SIMPLE_HEAD
        from rich.console import Console
        from rich.table import Table
        from rich.text import Text

        table = Table(box=SIMPLE_HEAD, pad_edge=False)
        for number, heading in enumerate(headings):
            # The first column holds the names that users type: never wrap it.
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
    click.echo("\n".join(lines))  # in one call: thousands of calls are slow


def print_fields(fields: Mapping[str, str]) -> None:
    """Print names and values, one a line, with aligned values; the lines of one value stay aligned."""
    width = max(len(name) for name in fields) + 2
    for name, value in fields.items():
        indented = value.replace("\n", "\n" + " " * width)
        click.echo(click.style(name.ljust(width), bold=True) + indented)


def say(message: str) -> None:
    """Print a remark to stderr if that is a terminal; results go to stdout."""
    if sys.stderr.isatty():
        click.echo(message, err=True)


def require_terminal(action: str, command: str) -> None:
    """Raise a ZooError if nobody can be asked to confirm ``action``; ``command`` would not ask."""
    if not sys.stdin.isatty():
        raise ZooError(f"Refusing to {action} without confirmation.", f"Pass --yes: {command}")


def megabytes(count: int) -> str:
    """Format a size in decimal units, as Hub pages do: ``4.3 MB``."""
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.3g} {unit}"
    return f"{count} B"


def count_of(number: int) -> str:
    """Format a number of parameters: ``35.7M``."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("K", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)
