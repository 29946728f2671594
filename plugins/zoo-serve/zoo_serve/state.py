"""What the handlers of a server share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from starlette.requests import Request as HTTPRequest

from zoo_core import Model, ModelCard, Request, Sample
from zoo_serve.config import ServerConfig
from zoo_serve.engine.engine import Engine
from zoo_serve.engine.job import Finished, Job
from zoo_serve.metrics import Metrics
from zoo_serve.models import ServedModels
from zoo_serve.problems import Refusal
from zoo_serve.samples import SampleStore, StoredSample
from zoo_serve.uploads import Uploads

T = TypeVar("T")


class Requests(Protocol):
    """The samples to make: a plan, or a list."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[Request]: ...


@dataclass(frozen=True)
class ServerState:
    """The parts of a server; handlers find it at ``request.app.state.zoo``."""

    config: ServerConfig
    models: ServedModels
    engine: Engine
    metrics: Metrics
    samples: SampleStore
    uploads: Uploads

    @classmethod
    def create(cls, config: ServerConfig, samples: SampleStore | None = None) -> ServerState:
        """Make the parts of a new server."""
        metrics = Metrics()
        engine = Engine(config, metrics)
        kept = SampleStore() if samples is None else samples
        return cls(config, ServedModels(config), engine, metrics, kept, Uploads(config.limits))

    def submit(
        self,
        card: ModelCard,
        requests: Requests,
        *,
        watched: bool = False,
        annotate: Callable[[Model, Sample], Any] | None = None,
    ) -> Job:
        """Queue the samples of a request.

        Raises:
            Refusal: There are too many, the queue is full, or the server is being stopped.
        """
        self._check_count(len(requests), "samples")  # before they are listed
        job = Job(card, list(requests), self.config.timeout, watched, annotate)
        self.engine.submit(job)
        return job

    async def compute(
        self, card: ModelCard, calls: Sequence[Callable[[Model], Any]], request: HTTPRequest
    ) -> list[Any]:
        """Call each with the model, in the model's thread; return what they return, in order.

        Raises:
            Refusal: As of :meth:`submit`.
        """
        self._check_count(len(calls), "inputs")
        job = Job(card, (), self.config.timeout, calls=calls)
        self.engine.submit(job)
        return await self._unless_gone(job, job.values(), request)

    def _check_count(self, count: int, what: str) -> None:
        most = self.config.limits.samples
        if count > most:
            raise Refusal(f"{count} {what} are too many for one request.", f"Ask for at most {most}.")

    async def keep(self, finished: Finished) -> StoredSample:
        """Encode a sample and keep it for a while."""
        stored = await asyncio.to_thread(StoredSample.of, finished.sample, finished.extra)
        await asyncio.to_thread(self.samples.add, stored)
        return stored

    async def finish(self, job: Job, request: HTTPRequest) -> list[StoredSample]:
        """Wait for all samples of a job, in order; cancel it if the client goes away."""

        async def collect() -> list[StoredSample]:
            done = [event async for event in job.events() if isinstance(event, Finished)]
            done.sort(key=lambda finished: finished.sample.index)
            return [await self.keep(finished) for finished in done]

        return await self._unless_gone(job, collect(), request)

    async def _unless_gone(self, job: Job, work: Awaitable[T], request: HTTPRequest) -> T:
        """Wait for the work on a job; cancel both if the client goes away."""
        work = asyncio.ensure_future(work)
        gone = asyncio.ensure_future(_disconnected(request))
        try:
            await asyncio.wait((work, gone), return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise Refusal("The client has gone.", "Ask again.", status=499)
            return work.result()
        finally:
            self.give_up(job)
            for task in (work, gone):
                task.cancel()
                with suppress(asyncio.CancelledError, Exception):
                    await task

    def give_up(self, job: Job) -> None:
        """Take a job's samples out of the queue and of their batch, if it is not done."""
        job.cancel()
        self.engine.cancelled()


async def _disconnected(request: HTTPRequest) -> None:
    """Return when the client has closed the connection; the body has been read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def state_of(request: HTTPRequest) -> ServerState:
    """Return the state of the server that got a request."""
    state: ServerState = request.app.state.zoo
    return state
