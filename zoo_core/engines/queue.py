"""The tasks of a run: which is next, which must be done again, and which results may be returned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from zoo_core.engines.protocol import Lost

ATTEMPTS = 3
"""A task whose worker was lost so many times is not tried again."""


class TaskQueue:
    """Hands out tasks, at most ``window`` ahead of the oldest unfinished one, and orders the results.

    So the results that wait for an older one are few, whatever the number of tasks.
    """

    def __init__(self, tasks: Iterable[Any], window: int) -> None:
        self._tasks = iter(tasks)
        self._window = window
        self._running: dict[int, Any] = {}
        self._again: list[int] = []
        self._losses: dict[int, int] = {}
        self._results: dict[int, tuple[Any, Any]] = {}
        self._next = 0
        self._oldest = 0
        self._exhausted = False

    def widen(self, window: int) -> None:
        """Let more tasks be ahead, for more workers."""
        self._window = max(self._window, window)

    def take(self) -> tuple[int, Any] | None:
        """Return the number of a task and the task; None if there is none to do now."""
        if self._again:
            number = self._again.pop(0)
            return number, self._running[number]
        if self._exhausted or self._next - self._oldest >= self._window:
            return None
        try:
            task = next(self._tasks)
        except StopIteration:
            self._exhausted = True
            return None
        number, self._next = self._next, self._next + 1
        self._running[number] = task
        return number, task

    def give_back(self, number: int) -> None:
        """Put a task back that no worker began."""
        self._again.append(number)

    def lost(self, number: int) -> None:
        """Have a task done again whose worker was lost, unless that has happened too often."""
        self._losses[number] = self._losses.get(number, 0) + 1
        if self._losses[number] < ATTEMPTS:
            self._again.append(number)
        else:
            self.done(number, Lost("Every worker that began it was lost.", "See the logs of the workers."))

    def done(self, number: int, result: Any) -> None:
        """Keep a result until it is its turn."""
        self._results[number] = (self._running.pop(number), result)
        self._losses.pop(number, None)

    def ready(self) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result) of the next tasks in order that are done."""
        while self._oldest in self._results:
            found = self._results.pop(self._oldest)
            self._oldest += 1
            yield found

    @property
    def is_done(self) -> bool:
        """True if every task was handed out and returned."""
        return self._exhausted and not self._running and not self._results
