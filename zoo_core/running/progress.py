"""How far a run is, as ``on_step`` is told, and the bar that a notebook or a terminal shows of it."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from zoo_core.protocols import Step
from zoo_core.running.planning import Request


@dataclass(frozen=True)
class Progress:
    """The state of a run after a step."""

    requests: Sequence[Request]
    """The samples of the current batch."""
    step: Step


@contextmanager
def progress_bar(total: int) -> Iterator[Callable[[Progress], object]]:
    """Show a bar of finished samples in a notebook or a terminal, and nowhere else."""
    from tqdm.auto import tqdm

    seen = "IPython" in sys.modules and sys.modules["IPython"].get_ipython() is not None
    with tqdm(total=total, unit="sample", leave=False, disable=not (seen or sys.stderr.isatty())) as bar:
        made = 0

        def on_step(progress: Progress) -> None:
            nonlocal made
            step, size = progress.step, len(progress.requests)
            bar.set_postfix_str(f"step {step.index}/{step.total}", refresh=False)
            bar.update(made + size * step.index / step.total - bar.n)
            made += size if step.index >= step.total else 0

        yield on_step
