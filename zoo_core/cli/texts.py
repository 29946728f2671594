"""Texts on a terminal, as they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo_core.samples.base import Output

if TYPE_CHECKING:
    from zoo_core.running.model import Progress
    from zoo_core.samples.sample import Sample


class Nowhere(Output):
    """Takes samples that are shown in another way."""

    def write(self, sample: Sample) -> Path | None:
        """Keep nothing."""
        return None


@contextmanager
def stream() -> Iterator[Callable[[Progress], object]]:
    """Show the text of the one sample there is, each step what it adds."""
    shown = ""

    def on_step(progress: Progress) -> None:
        nonlocal shown
        (text,) = progress.step.texts or ("",)
        # What was shown cannot be taken back: a text that changes its mind goes on from there.
        click.echo(text[len(shown) :], nl=False)
        shown = max(shown, text, key=len)

    try:
        yield on_step
    finally:
        click.echo()
