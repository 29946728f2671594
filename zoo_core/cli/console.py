"""Printing for all commands: to the width of a terminal, in full in a pipe, JSON if requested."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import click

from zoo_core.errors import ZooError, visible

Command = TypeVar("Command", bound=Callable[..., Any] | click.Command)

_UNSEEN = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff]")
_LAST = 22
"""Columns that the last column of a table has at least, if it needs them."""

device_option = click.option(
    "--device", metavar="DEVICE", default="auto", help="auto, cpu, cuda, cuda:1 or mps.", show_default=True
)
adapter_option = click.option(
    "--adapter",
    metavar="NAME",
    help="Merge a LoRA (peft) into the weights: a folder, ORG/REPO, hf:ORG/REPO or its address.",
)
dtype_option = click.option(
    "--dtype", metavar="DTYPE", default="auto", help="As for zoo run.", show_default=True
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON only.")


def loading_options(command: Command) -> Command:
    """Add what says how a model is loaded: ``--device``, ``--dtype`` and ``--adapter``."""
    return device_option(dtype_option(adapter_option(command)))


def write(text: str, *, err: bool = False) -> None:
    """Print lines that may quote a file, a registry or a plugin, made visible."""
    click.echo(visible(text, keep="\n"), err=err)


def print_problem(problem: ZooError, *, source: str = "") -> None:
    """Print a problem that does not end the command: message and remedy, on stderr."""
    write(f"{source}{problem.message}\n{problem.remedy}", err=True)


def print_json(value: Any) -> None:
    """Print one JSON value."""
    click.echo(to_json(value, indent=2))


def print_json_list(values: Iterable[Any]) -> None:
    """Print a long JSON list with one entry a line, ten times as fast as indented."""
    lines = [to_json(value) for value in values]
    click.echo("[\n" + ",\n".join(lines) + "\n]" if lines else "[]")


def to_json(value: Any, indent: int | None = None) -> str:
    """Return JSON that can be shown on a terminal: C1 and bidi controls are escaped too, as ``\\u009b``."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _UNSEEN.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def print_table(
    headings: Sequence[str], rows: Sequence[Sequence[str]], *, drop: Sequence[str] | None = None
) -> None:
    """Print a table: in the width of a terminal, in full in a pipe.

    Args:
        headings: Names of the columns.
        rows: The cells.
        drop: See :func:`fit`.
    """
    if not rows:
        return
    cells = [[visible(cell) for cell in row] for row in (headings, *rows)]
    if not sys.stdout.isatty():
        click.echo("\n".join(_in_columns(cells)))  # in one call: thousands of calls are slow
        return
    heading, *lines = fit(cells, shutil.get_terminal_size().columns, drop)
    click.echo("\n".join([click.style(heading, bold=True), *lines]))


def fit(cells: Sequence[Sequence[str]], width: int, drop: Sequence[str] | None = None) -> list[str]:
    """Return the lines of a table that is no wider than ``width``.

    Args:
        cells: The headings, then the rows.
        width: Columns of the terminal.
        drop: None wraps the last column; where even that does not help, it goes below the others. Otherwise
            every row is one line: the last column is cut, and the columns with these headings are left out,
            in this order, until it has room.
    """
    shown = [list(row) for row in cells]
    for heading in drop or ():
        if _before_last(shown) + min(_LAST, _widest(shown, -1)) <= width:
            break
        column = shown[0].index(heading)
        shown = [row[:column] + row[column + 1 :] for row in shown]
    indent = _before_last(shown)
    room = width - indent
    if drop is not None:
        return [_cut(line, width) for line in _in_columns(shown)]
    if room >= min(_LAST, _widest(shown, -1)):
        return [
            line
            for row, first in zip(shown, _in_columns([row[:-1] for row in shown], padded=True), strict=True)
            for line in _wrapped(row[-1], width, first, " " * indent)
        ]
    lines = []
    for row in shown:
        lines += _wrapped("  ".join(cell for cell in row[:-1] if cell), width, "", "  ")
        lines += _wrapped(row[-1], width, "    ", "    ") if row[-1] else []
    return lines


def _wrapped(text: str, width: int, first: str, indent: str) -> list[str]:
    lines = textwrap.wrap(text, max(width - len(indent), 20), break_on_hyphens=False) or [""]
    return [f"{first}{lines[0]}".rstrip(), *(indent + line for line in lines[1:])]


def _before_last(cells: Sequence[Sequence[str]]) -> int:
    return sum(_widest(cells, column) + 2 for column in range(len(cells[0]) - 1))


def _widest(cells: Sequence[Sequence[str]], column: int) -> int:
    return max(cell_width(row[column]) for row in cells)


def _in_columns(cells: Sequence[Sequence[str]], *, padded: bool = False) -> list[str]:
    widths = [_widest(cells, column) for column in range(len(cells[0]))]
    lines = [
        "".join(cell + " " * (width - cell_width(cell) + 2) for cell, width in zip(row, widths, strict=True))
        for row in cells
    ]
    return lines if padded else [line.rstrip() for line in lines]


def cell_width(text: str) -> int:
    """Return how many columns a text takes on a terminal."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _cut(line: str, width: int) -> str:
    if cell_width(line) <= width:
        return line
    while cell_width(line) >= width:
        line = line[: min(len(line) - 1, width)]
    return line.rstrip() + "…"


def print_fields(fields: Mapping[str, str]) -> None:
    """Print names and values, one a line, with aligned values; the lines of one value stay aligned."""
    width = max(len(name) for name in fields) + 2
    room = shutil.get_terminal_size().columns - width if sys.stdout.isatty() else None
    for name, value in fields.items():
        lines = visible(value, keep="\n").split("\n")
        if room:
            lines = [part for line in lines for part in _wrapped(line, room, "", "")]
        indented = ("\n" + " " * width).join(lines)
        click.echo(click.style(name.ljust(width), bold=True) + indented)


def say(message: str) -> None:
    """Print a remark to stderr if that is a terminal; results go to stdout."""
    if sys.stderr.isatty():
        write(message, err=True)


Announce = Callable[[str], object]
"""Takes what is being done, to show it; empty: nothing is to be shown."""


@contextmanager
def working(quiet: bool = False) -> Iterator[Announce]:
    """Show on stderr, with a spinner, what is being done before there is a result; nothing in a pipe."""
    if quiet or not sys.stderr.isatty():
        yield lambda doing: None
        return
    from rich.console import Console
    from rich.status import Status
    from rich.text import Text

    status = Status("", console=Console(stderr=True), spinner="dots")

    def announce(doing: str) -> None:
        if doing:
            status.update(Text(visible(doing, 60)))
            status.start()
        else:
            status.stop()

    try:
        yield announce
    finally:
        status.stop()


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
