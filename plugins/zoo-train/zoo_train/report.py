"""Progress on stderr: a bar with the time left on a terminal, plain lines otherwise."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

SECONDS_BETWEEN_LINES = 20.0
BAR_WIDTHS = 10, 40
"""The least and the most columns of the bar."""


class Report:
    """Shows the progress of a run.

    Args:
        steps: Steps in the run.
        done: Steps done before this process started.
        quiet: Show nothing (processes other than the first).
    """

    def __init__(self, steps: int, done: int, quiet: bool = False) -> None:
        self.steps, self.done, self.quiet = steps, done, quiet
        self._began, self._first = time.monotonic(), done
        self._shown_at = self._began
        self._metrics: list[str] = []
        self._bar: Progress | None = None
        if sys.stderr.isatty() and not quiet:
            self._bar_column = BarColumn()
            self._bar = Progress(
                TextColumn("training"),
                self._bar_column,
                MofNCompleteColumn(),
                TextColumn("{task.fields[metrics]}"),
                TimeRemainingColumn(),
                console=Console(stderr=True),
            )
            self._task = self._bar.add_task("training", total=steps, completed=done, metrics="")

    def __enter__(self) -> Report:
        if self._bar:
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()

    def step(self, done: int, line: Mapping[str, float] | None) -> None:
        """Show that ``done`` steps are done; ``line`` holds the new line of metrics, if there is one."""
        self.done = done
        if line is not None:
            self._metrics = [f"{k} {v:.4g}" for k, v in line.items() if k != "step"]
        if self._bar:
            self._bar.update(self._task, completed=done, metrics=self._fitting(self._bar.console.width))
        elif not self.quiet and (self._is_due() or done == self.steps):
            self._shown_at = time.monotonic()
            self.say(f"step {done}/{self.steps}  {'  '.join(self._metrics)}  {self._pace()}")

    def say(self, text: str) -> None:
        """Print a line, above the bar if there is one."""
        if self._bar:
            self._bar.console.print(text)
        elif not self.quiet:
            print(text, file=sys.stderr, flush=True)

    def _fitting(self, width: int) -> str:
        """Return the first metrics that fit beside bar and time left; the bar takes what they leave."""
        narrowest, widest = BAR_WIDTHS
        room = width - len(f"training  {self.steps}/{self.steps}   0:00:00 ")
        shown = self._metrics
        while shown and len("  ".join(shown)) > room - narrowest:
            shown = shown[:-1]
        text = "  ".join(shown)
        self._bar_column.bar_width = max(narrowest, min(widest, room - len(text)))
        return text

    def _is_due(self) -> bool:
        return time.monotonic() - self._shown_at >= SECONDS_BETWEEN_LINES

    def _pace(self) -> str:
        rate = (self.done - self._first) / max(time.monotonic() - self._began, 1e-9)
        left = int((self.steps - self.done) / rate) if rate else 0
        return f"{rate:.2f} steps/s  left {left // 3600}:{left // 60 % 60:02d}:{left % 60:02d}"
