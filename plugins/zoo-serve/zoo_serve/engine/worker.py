"""A worker: the thread that loads one model, and makes the samples that wait for it."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from zoo_core import ContinuousBatching, ContinuousRun, Model, ModelCard, Progress, Sample
from zoo_serve.engine.unit import Call, Unit
from zoo_serve.metrics import Metrics
from zoo_serve.problems import log_failure

TEXTS = 32
"""Texts that grow together, where the generator lets them join and leave at every token."""


class _NobodyWaits(Exception):
    """Ends a batch whose jobs have all ended."""


class Worker(threading.Thread):
    """Serves one model until it is retired.

    Args:
        card: The model.
        load: Returns it, ready to run; called in the thread.
        changed: The engine's condition, which guards the queue and is notified of every change.
        batch_size: Samples per batch; None: the model's preference.
        metrics: Where to count.
        ended: Called when the thread ends, for whatever reason.
    """

    def __init__(
        self,
        card: ModelCard,
        load: Callable[[Worker], Model],
        changed: threading.Condition,
        batch_size: int | None,
        metrics: Metrics,
        ended: Callable[[Worker], None],
    ) -> None:
        super().__init__(name=f"zoo-serve {card.id}", daemon=True)
        self.card = card
        self.queue: deque[Unit | Call] = deque()
        self.running: Sequence[Unit | Call] = ()
        """The samples of the current batch."""
        self.retired = False
        """No more units come: the thread ends when its queue is empty."""
        self.used = 0.0
        """When the last unit came, in monotonic seconds."""
        self._load, self._changed, self._ended = load, changed, ended
        self._batch_size, self._metrics = batch_size, metrics

    @property
    def idle(self) -> bool:
        """Nothing runs or waits."""
        return not self.queue and not self.running

    def run(self) -> None:
        """Load the model, then make batches until the worker is retired."""
        try:
            self._serve()
        except Exception as error:  # a model that does not load, or a fault of the server
            self._fail_all(error)
        finally:
            self._ended(self)

    def _serve(self) -> None:
        model = self._load(self)
        if isinstance(model.generator, ContinuousBatching):
            self._write(model, self._batch_size or TEXTS)
            return
        preferred: int = getattr(model.generator, "batch_size", 1)
        while group := self._next_group(self._batch_size or preferred):
            for call in group:
                if isinstance(call, Call):
                    call.run(model)
            if units := [unit for unit in group if isinstance(unit, Unit)]:
                self._make(model, units)
            self._release()

    def _write(self, model: Model, most: int) -> None:
        """Run a batch of texts that join and leave at every token, until the worker is retired."""
        run, there = ContinuousRun(model), dict[int, Unit]()
        while (new := self._newcomers(there, most)) is not None:
            for number in [number for number, unit in there.items() if unit.job.ended]:
                run.leave(number)
                del there[number]
            for unit in new:
                if isinstance(unit, Call):
                    unit.run(model)
                    continue
                try:
                    there[run.join(unit.request)] = unit
                except Exception as error:
                    unit.fail(error)
            if not there:
                continue
            try:
                with self._metrics.batch(self.card.id, len(there)):
                    told = run.step()
            except Exception:  # whose fault it is shows when each is made alone
                alone = list(there.values())
                run, there = ContinuousRun(model), {}
                for unit in alone:
                    self._make(model, [unit])
                continue
            for number, (step, sample) in told.items():
                there[number].advance(step, 0)
                if sample is not None:
                    self._finish(model, there.pop(number), sample)

    def _newcomers(self, there: Mapping[int, Unit], most: int) -> Sequence[Unit | Call] | None:
        """Return the texts that join now, waiting if none is there; None if the worker is retired."""
        with self._changed:
            self.running = tuple(there.values())
            if not there:
                self._changed.notify_all()
            self._drop_ended()
            while not (self.queue or there):
                if self.retired:
                    return None
                self._changed.wait()
                self._drop_ended()
            new = [self.queue.popleft() for _ in range(min(most - len(there), len(self.queue)))]
            self.running = (*there.values(), *new)
        return new

    def _next_group(self, size: int) -> Sequence[Unit | Call]:
        """Wait for samples; return those that share the next batch, none if the worker is retired."""
        with self._changed:
            while True:
                self._drop_ended()
                if self.queue or self.retired:
                    break
                self._changed.wait()
            group: list[Unit | Call] = []
            rest: deque[Unit | Call] = deque()
            while self.queue and len(group) < size:
                unit = self.queue.popleft()
                (group if not group or unit.key == group[0].key else rest).append(unit)
            self.queue.extendleft(reversed(rest))
            self.running = group
            self._changed.notify_all()
        return group

    def _drop_ended(self) -> None:
        self.queue = deque(unit for unit in self.queue if not unit.job.ended)

    def _release(self) -> None:
        with self._changed:
            self.running = ()
            self._changed.notify_all()

    def _make(self, model: Model, group: Sequence[Unit]) -> None:
        """Make a batch. If it fails, make its samples one by one, so that one fails none but itself."""

        def on_step(progress: Progress) -> None:
            if all(unit.job.ended for unit in group):
                raise _NobodyWaits
            for row, unit in enumerate(group):
                unit.advance(progress.step, row)

        try:
            with self._metrics.batch(self.card.id, len(group)):
                samples = list(
                    model.make([unit.request for unit in group], batch_size=len(group), on_step=on_step)
                )
        except _NobodyWaits:
            return
        except Exception as error:
            if len(group) == 1:
                group[0].fail(error)
                return
            for unit in group:
                if not unit.job.ended:
                    self._make(model, [unit])
            return
        for unit, sample in zip(group, samples, strict=True):
            self._finish(model, unit, sample)

    def _finish(self, model: Model, unit: Unit, sample: Sample) -> None:
        self._metrics.count(sample)
        unit.finish(model, sample)

    def _fail_all(self, error: Exception) -> None:
        with self._changed:
            self.retired = True
            units = [*self.running, *self.queue]
            self.queue.clear()
            self.running = ()
        for unit in units:
            unit.fail(error)
        if not units:  # a model that nobody has asked for yet
            log_failure(error)
