"""Text on a terminal, shown while it is generated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo_core.errors import visible
from zoo_core.samples.base import Output

if TYPE_CHECKING:
    from zoo_core.running.progress import Progress
    from zoo_core.samples.sample import Sample


class NullOutput(Output):
    """Discards samples, which are shown in another way."""

    def write(self, sample: Sample) -> Path | None:
        """Discard the sample."""
        return None


@contextmanager
def stream() -> Iterator[Callable[[Progress], object]]:
    """Print the text of a single sample on a terminal, as each step extends it.

    A model's text may be anything: its control characters are made visible, except newlines and tabs.
    """
    shown = ""

    def on_step(progress: Progress) -> None:
        nonlocal shown
        (text,) = progress.step.texts or ("",)
        # Printed text cannot be taken back: if a step revises it, print only what comes after.
        click.echo(visible(text[len(shown) :], keep="\n\t"), nl=False)
        shown = max(shown, text, key=len)

    try:
        yield on_step
    finally:
        click.echo()
