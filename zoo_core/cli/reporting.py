"""What ``zoo run`` prints while it makes samples: their paths or records, and a bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_core.cli.console import to_json
from zoo_core.errors import visible

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from zoo_core.running.progress import Progress
    from zoo_core.samples.record import Record

Tell = Callable[["Record", str | None, Path | None, bool], None]
"""Takes a sample's record and text, its file, and whether to report it only when the run is done."""


@contextmanager
def print_paths() -> Iterator[Tell]:
    """Print the path of every file once, one a line."""
    waiting: dict[Path, None] = {}

    def tell(record: Record, text: str | None, path: Path | None, wait: bool) -> None:
        if path and wait:
            waiting[path] = None
        elif path:
            click.echo(str(path))

    yield tell
    for path in waiting:
        click.echo(str(path))


@contextmanager
def print_json_array() -> Iterator[Tell]:
    """Print paths and records as one JSON array, entry by entry; close it even after an error."""
    count = 0

    def tell(record: Record, text: str | None, path: Path | None, wait: bool) -> None:
        nonlocal count
        entry: dict[str, Any] = {"path": str(path) if path else None, **record.to_json()}
        if text is not None:
            entry["text"] = text
        click.echo(f"{',' if count else '['}\n{to_json(entry)}", nl=False)
        count += 1

    try:
        yield tell
    finally:
        click.echo("\n]" if count else "[]")


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[Progress], object]]:
    """Show a bar on stderr that counts samples and advances with every step of a batch."""
    with _bar() as bar:
        task = bar.add_task("", total=total, made=0, wanted=total)
        made = 0

        def on_step(progress: Progress) -> None:
            nonlocal made
            step, size = progress.step, len(progress.requests)
            done = made + size * step.index / step.total
            if step.index >= step.total:
                made += size
            bar.update(task, completed=done, made=made, description=f"step {step.index}/{step.total}")

        yield on_step


@contextmanager
def sample_counter(
    total: Callable[[], int],
) -> Iterator[tuple[Callable[[], object], Callable[[str], object]]]:
    """Show a bar on stderr that counts finished samples.

    Args:
        total: Returns the number of samples to make, which is known when the first is done.

    Yields:
        A function to call with each sample, and one that prints a line above the bar.
    """
    from rich.text import Text

    with _bar() as bar:
        task = bar.add_task("starting workers", total=None, made=0, wanted="?")

        def count() -> None:
            made = bar.tasks[0].fields["made"] + 1
            bar.update(task, total=total(), completed=made, made=made, wanted=total(), description="")

        yield count, lambda line: bar.console.print(Text(visible(line)))


def _bar() -> Bar:
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[made]}/{task.fields[wanted]} samples"),
        TimeRemainingColumn(),
    )
    # Do not redirect stdout, which carries the result: rich would send it to the bar's console.
    console = Console(stderr=True)
    return Bar(*columns, console=console, transient=True, redirect_stdout=False, redirect_stderr=False)
