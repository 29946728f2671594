"""The engine: which models are loaded, who waits for them, and when no more is taken."""

from __future__ import annotations

import contextvars
import threading
import time

from zoo_core import Model, ModelCard, OptionError, load
from zoo_serve.config import ServerConfig
from zoo_serve.engine.job import Job
from zoo_serve.engine.unit import units_of
from zoo_serve.engine.worker import Worker
from zoo_serve.metrics import Metrics
from zoo_serve.problems import Refusal
from zoo_serve.weights import size_of


class Engine:
    """Runs jobs: one thread per loaded model, one bounded queue for all.

    A model is loaded when it is first asked for. Where ``config.memory`` is too small for all, the one that
    was asked for least recently leaves: it finishes what waits for it, and takes nothing new.
    """

    def __init__(self, config: ServerConfig, metrics: Metrics) -> None:
        self.config = config
        self.metrics = metrics
        self._changed = threading.Condition()
        self._loading = threading.Lock()
        """Held while a model is loaded: importing a plugin is no business of two threads."""
        self._workers: dict[str, Worker] = {}
        """Those that take jobs, by the card's id."""
        self._resident: dict[Worker, int] = {}
        """Bytes of weights by worker, from before they are loaded until the thread has ended."""
        self.draining = False
        metrics.observe(self)

    @property
    def waiting(self) -> int:
        """Number of samples that wait for a batch."""
        return sum(len(worker.queue) for worker in list(self._workers.values()))

    @property
    def running(self) -> int:
        """Number of samples that are being made."""
        return sum(len(worker.running) for worker in list(self._workers.values()))

    @property
    def loaded(self) -> tuple[str, ...]:
        """Ids of the models in memory, or on their way there."""
        return tuple(worker.card.id for worker in list(self._resident))

    def submit(self, job: Job) -> None:
        """Queue a job's samples.

        Raises:
            Refusal: The queue is full (429), or the server is being stopped (503).
        """
        with self._changed:
            if self.draining:
                raise stopping()
            waiting = self.waiting
            if waiting + len(job) > self.config.queue:
                self.metrics.refused.inc()
                raise self._full(waiting)
            worker = self._workers.get(job.card.id)
            if worker is None or worker.retired:
                worker = self._start(job.card)
            worker.used = time.monotonic()
            worker.queue.extend(units_of(job))
            self._changed.notify_all()

    def preload(self, card: ModelCard) -> None:
        """Begin to load a model before anybody asks for it."""
        with self._changed:
            if card.id not in self._workers:
                self._start(card)

    def cancelled(self) -> None:
        """Wake the workers: a job has ended early."""
        with self._changed:
            self._changed.notify_all()

    def drain(self) -> None:
        """Take no more jobs. Those that have not begun are refused; those that have run to their end."""
        with self._changed:
            self.draining = True
            for worker in {*self._workers.values(), *self._resident}:
                begun = {unit.job for unit in worker.running}
                for unit in worker.queue:
                    if unit.job not in begun:
                        unit.fail(stopping())
                worker.retired = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> bool:
        """Wait until every worker has ended; return False if that takes longer."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._resident and not self._workers, seconds)

    def _full(self, waiting: int) -> Refusal:
        seconds = max(1, min(60, round(waiting * self.metrics.seconds_per_sample)))
        return Refusal(
            f"The server is busy: {waiting} samples wait, and at most {self.config.queue} may.",
            f"Try again in {seconds} seconds, or ask for fewer samples.",
            status=429,
            code="queue_full",
            retry_after=seconds,
        )

    def _start(self, card: ModelCard) -> Worker:
        worker = Worker(
            card, self._load, self._changed, self.config.batch_size, self.metrics, self._worker_ended
        )
        worker.used = time.monotonic()
        self._workers[card.id] = worker
        # The command's environment of plugins is in its context, which a thread does not inherit.
        context = contextvars.copy_context()
        run = worker.run
        worker.run = lambda: context.run(run)  # type: ignore[method-assign]
        worker.start()
        return worker

    def _load(self, worker: Worker) -> Model:
        self._make_room(worker)
        with self._loading:
            return load(
                worker.card,
                device=self.config.device,
                dtype=self.config.dtype,
                adapter=self.config.adapter,
            )

    def _make_room(self, worker: Worker) -> None:
        """Reserve memory for a model, after others have left where there is not enough."""
        size, memory = size_of(worker.card), self.config.memory
        if memory is not None and size > memory:
            raise OptionError(
                f"{worker.card.id} has {size / 2**20:,.0f} MiB of weights, more than this server may load.",
                "Start it with a larger --memory.",
            )
        with self._changed:
            while memory is not None and sum(self._resident.values()) + size > memory:
                staying = [other for other in self._resident if not other.retired]
                leaving = sum(bytes for other, bytes in self._resident.items() if other.retired)
                if sum(self._resident.values()) - leaving + size > memory:
                    victim = min(staying, key=lambda other: (not other.idle, other.used))
                    victim.retired = True
                    self._forget(victim)
                    self._changed.notify_all()
                if self.draining:
                    raise stopping()
                self._changed.wait()
            self._resident[worker] = size

    def _forget(self, worker: Worker) -> None:
        """Let the next job of this model start a new worker."""
        if self._workers.get(worker.card.id) is worker:
            del self._workers[worker.card.id]

    def _worker_ended(self, worker: Worker) -> None:
        with self._changed:
            self._forget(worker)
            self._resident.pop(worker, None)
            self._changed.notify_all()


def stopping() -> Refusal:
    """Return the refusal of a server that is being stopped."""
    return Refusal(
        "The server is being stopped.",
        "Try again when it is back.",
        status=503,
        code="stopping",
        retry_after=5,
    )
