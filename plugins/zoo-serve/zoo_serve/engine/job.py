"""A job: the samples or the calls of one request, and what happens to them, told to the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from zoo_core import Model, ModelCard, Request, Sample
from zoo_serve.problems import Refusal

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Advanced:
    """A sample is some steps further."""

    index: int
    """The sample's position in its job."""
    step: int
    total: int
    text: str | None = None
    """The text so far."""
    tensor: torch.Tensor | None = None
    """A preview, (c, h, w) in [-1, 1]."""


@dataclass(frozen=True)
class Finished:
    """A sample is done."""

    sample: Sample
    extra: Any = None
    """What the job's ``annotate`` returned."""


@dataclass(frozen=True)
class Computed:
    """A call is done."""

    index: int
    """Its position in its job."""
    value: Any


@dataclass(frozen=True)
class Failed:
    """The job ends without its samples."""

    error: Exception


Event = Advanced | Finished | Computed | Failed


@dataclass(eq=False)
class Job:
    """The samples of one request. Created on the event loop; :meth:`post` is for any thread.

    Steps may come faster than a client reads: of each sample only the last one waits.
    """

    card: ModelCard
    requests: Sequence[Request]
    seconds: float
    """Time until the job is given up."""
    watched: bool = False
    """Steps are told too, not only results."""
    annotate: Callable[[Model, Sample], Any] | None = None
    """Called with each sample that is done, in the thread of the model."""
    calls: Sequence[Callable[[Model], Any]] = ()
    """What else is computed with the model, in its thread, between two steps."""
    ended: bool = False
    """Nobody waits for it any more: it is done, failed, cancelled or late. Its samples may be dropped."""
    began: float = field(default_factory=time.monotonic)
    _loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    _events: asyncio.Queue[Event | int] = field(default_factory=asyncio.Queue)
    """Events in order; a number stands for that sample's last step."""
    _steps: dict[int, Advanced] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.requests) + len(self.calls)

    def post(self, event: Event) -> None:
        """Tell the loop what happened."""
        if not self.ended and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._put, event)

    def _put(self, event: Event) -> None:
        if isinstance(event, Advanced):
            if event.index not in self._steps:
                self._events.put_nowait(event.index)
            self._steps[event.index] = event
        else:
            self._events.put_nowait(event)

    def cancel(self) -> None:
        """Give the job up: its samples leave their batch at the next step."""
        self.ended = True

    async def events(self) -> AsyncIterator[Advanced | Finished]:
        """Yield what happens until every sample is done.

        Raises:
            Refusal: The job was not done in its time.
            Exception: What went wrong with it.
        """
        left = len(self.requests)
        try:
            while left:
                event = await self._next()
                assert not isinstance(event, Computed)
                left -= isinstance(event, Finished)
                yield event
        finally:
            self.ended = True

    async def values(self) -> list[Any]:
        """Return what the calls return, in order; errors are those of :meth:`events`."""
        values: dict[int, Any] = {}
        try:
            while len(values) < len(self.calls):
                event = await self._next()
                assert isinstance(event, Computed)
                values[event.index] = event.value
        finally:
            self.ended = True
        return [values[index] for index in sorted(values)]

    async def _next(self) -> Advanced | Finished | Computed:
        try:
            async with asyncio.timeout(self.began + self.seconds - time.monotonic()):
                event = await self._events.get()
        except TimeoutError:
            raise Refusal(
                f"The request was not answered in {self.seconds:g} seconds.",
                "Ask for less, or start the server with a longer --timeout.",
                status=504,
                code="timeout",
            ) from None
        if isinstance(event, Failed):
            raise event.error
        return self._steps.pop(event) if isinstance(event, int) else event
