"""What an engine is: it starts workers from plain data, hands them tasks, and returns the results in order.

An engine knows no model. What a worker does is named by a job: sampling is
:class:`zoo_core.engines.sampler.Sampler`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, Self


class Worker(Protocol):
    """Does tasks one after the other, in a process of its own."""

    def describe(self) -> Any:
        """Return what this worker is, as plain data; workers that differ do not belong in one run."""
        ...

    def run(self, task: Any) -> Any:
        """Do a task and return its result. A ZooError ends the whole run."""
        ...


@dataclass(frozen=True)
class Job:
    """How every worker is built, from data that can be sent to another machine."""

    target: str
    """``module:attribute``, called with ``arguments`` and ``device``; returns a Worker."""
    arguments: Mapping[str, Any]


@dataclass(frozen=True)
class Lost:
    """The result of a task that no worker survived."""

    message: str
    remedy: str


class Refused(Exception):
    """Raised by ``accept``: the worker that was described must not be used; says why."""


Accept = Callable[[Any], object]
"""Takes a worker's description; raises Refused."""
Say = Callable[[str], object]
"""Takes a line about the workers for the user: one is lost, one is refused."""


class Session(Protocol):
    """Workers that are being started or are ready. Leaving it as a context manager ends them all."""

    @property
    def workers(self) -> int:
        """The number of workers, now or soon."""
        ...

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result), in the order of the tasks. Closing the iterator cancels what is not done.

        A worker gets a task when it is free. The task of a worker that is lost goes to another one; a result
        is :class:`Lost` if that happens again and again. No more tasks are taken than are needed to keep the
        workers busy.

        Raises:
            ZooError: No worker can be started, or a worker raised it.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class Engine(Protocol):
    """What the ``target`` of an ``[[engine]]`` returns when it is called with the engine's options.

    Optional: ``index``, the ``module:attribute`` of an :class:`Index` of what workers write.
    """

    def start(self, job: Job, accept: Accept, say: Say) -> Session:
        """Begin to start workers; ``accept`` is called with the description of each before it gets a task."""
        ...


class TrainingEngine(Engine, Protocol):
    """An engine that also trains: ``zoo train --engine``."""

    def train(self, job: Job, say: Say) -> Any:
        """Call the job's target in several processes that train together; return what the first returns.

        Each process has the environment variables that torchrun sets: RANK, WORLD_SIZE, LOCAL_RANK,
        MASTER_ADDR, MASTER_PORT. What the first one prints is said. Ctrl-C reaches all of them as SIGINT.

        Raises:
            ZooError: There is no room for the processes, one raised it, or one was lost.
        """
        ...


class ServingEngine(Engine, Protocol):
    """An engine that also serves: ``zoo serve --engine``."""

    def serve(self, app: Job, shared: Job, host: str, port: int, grace: float, say: Say) -> None:
        """Serve several copies of an application behind one address, until SIGINT or SIGTERM.

        Args:
            app: Builds a copy where it works: an ASGI application. The target is called with ``arguments``
                and ``call``; ``call(method, *arguments)`` calls a method of the shared object.
            shared: Builds the object of which there is one for all copies.
            host: The address to listen on.
            port: The port to listen on.
            grace: Seconds that running answers get in the end.
            say: Called once the copies are ready, and with problems.

        Raises:
            ZooError: No copy can be built, or the address cannot be had.
        """
        ...


@dataclass(frozen=True)
class Row:
    """A sample in an index."""

    index: int
    """Its position in the run."""
    name: str
    """The name of its file."""
    record: Mapping[str, Any]
    """:meth:`zoo_core.Record.to_json`."""


class Index(Protocol):
    """A table of the samples in a folder, built by calling the target with the folder."""

    def add(self, rows: list[Row]) -> None:
        """Write rows, sorted by position, atomically; called by many workers at the same time."""
        ...

    def rows(self) -> Iterator[Row]:
        """Yield all rows that were written, in no order."""
        ...

    def finish(self) -> None:
        """Put the rows in the order of the run; called by no worker, at the end."""
        ...
