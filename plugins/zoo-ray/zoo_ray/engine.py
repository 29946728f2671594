"""The engine: actors on the cluster's machines, each with one worker, and the tasks they get."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

from zoo_core import Accept, Job, PluginError, Refused, Say, TaskQueue, ZooError
from zoo_ray.actors import Host
from zoo_ray.cluster import Needs, Node, check_address, connect, nodes, parse_resources
from zoo_ray.serving import serve_app
from zoo_ray.training import train_together

AHEAD = 8
"""Tasks per worker that may be ahead of the oldest unfinished one."""
DEPTH = 2
"""Tasks that a worker has at a time: the next is there when one is done."""
_LOOK_SECONDS = 1.0
"""How often the machines of the cluster are looked at."""
_PATIENCE_SECONDS = 60.0
"""How long a cluster may have no room for a worker."""
_ATTEMPTS = 3
"""A machine on which so many workers ended while they started is not used."""
_REMEDY = "Install zoo-core, zoo-ray and the model's plugin there, in the same versions."


class RayEngine:
    """Runs workers as actors of a Ray cluster; the options are those of the manifest."""

    index = "zoo_ray.index:ParquetIndex"

    def __init__(
        self,
        address: str | None,
        workers: int | None,
        worker_cpus: float,
        worker_gpus: float | None,
        worker_resources: str | None,
    ) -> None:
        check_address(address)
        self._address, self._workers = address, workers
        self._worker = (worker_cpus, worker_gpus, parse_resources(worker_resources))

    def start(self, job: Job, accept: Accept, say: Say) -> RaySession:
        """Connect to the cluster, and begin to start workers."""
        connect(self._address)
        return RaySession(job, accept, say, Needs.of(*self._worker), self._workers)

    def train(self, job: Job, say: Say) -> Any:
        """Train in processes on the cluster's machines; see :class:`zoo_core.TrainingEngine`."""
        with self._connected() as needs:
            return train_together(job, needs, self._workers, say)

    def serve(self, app: Job, shared: Job, host: str, port: int, grace: float, say: Say) -> None:
        """Serve replicas on the cluster's machines; see :class:`zoo_core.ServingEngine`."""
        with self._connected() as needs:
            serve_app(app, shared, needs, self._workers, host, port, grace, say)

    @contextmanager
    def _connected(self) -> Iterator[Needs]:
        connect(self._address)
        import ray  # after connect, which sets variables that it reads

        try:
            yield Needs.of(*self._worker)
        finally:
            ray.shutdown()


@dataclass(eq=False)
class _Actor:
    """An actor, seen from the driver."""

    handle: Any
    node: Node
    building: Any
    """The reference of what ``build`` returns; None when it has."""
    tasks: dict[Any, int] = field(default_factory=dict)
    """Numbers of its tasks by the reference of the result, the first in work."""
    leaving: bool = False
    """Gets no more tasks."""


class RaySession:
    """The actors of one job."""

    def __init__(self, job: Job, accept: Accept, say: Say, needs: Needs, limit: int | None) -> None:
        import ray

        self._ray = ray
        self._job = ray.put(job)
        self._accept, self._say = accept, say
        self._needs, self._limit = needs, limit
        self._actors: list[_Actor] = []
        self._unfit: dict[str, str] = {}
        """Machines whose workers cannot be used, and what was said of it."""
        self._fit: set[str] = set()
        """Machines with a worker that was ready: their weights are there."""
        self._failures: Counter[str] = Counter()
        """Workers that ended while they started, by machine."""
        self._known: set[str] = set()
        self._problem: ZooError | None = None
        self._looked = 0.0
        self._room = 0
        self._alone_since = time.monotonic()
        self._look()

    @property
    def workers(self) -> int:
        """The number of workers that there is room for."""
        return max(1, self._room)

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result) in order; see :class:`zoo_core.Session`."""
        queue = TaskQueue(tasks, AHEAD * self.workers)
        while True:
            self._look()
            queue.widen(AHEAD * self.workers)
            self._hand_out(queue)
            if queue.is_done:
                return
            self._listen(queue)
            yield from queue.ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for actor in self._actors:
            self._ray.kill(actor.handle)
        self._actors.clear()
        self._ray.shutdown()

    def _look(self) -> None:
        """Look at the machines now and then: start workers where there is room, retire those that leave."""
        if time.monotonic() - self._looked < _LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        found = nodes(self._needs)
        self._announce(found)
        for actor in self._actors:
            if actor.node.id not in found and not actor.leaving:
                actor.leaving = True
                self._say(f"{actor.node.host} leaves the cluster: its workers finish their tasks.")
        fit = {name: node for name, node in found.items() if name not in self._unfit and node.room}
        self._room = sum(node.room for node in fit.values())
        self._room = min(self._room, self._limit or self._room)
        taken = Counter(actor.node.id for actor in self._actors)
        staying = sum(not actor.leaving for actor in self._actors)
        for node in fit.values():
            # The first worker of a machine fetches and verifies the weights; the others find them there.
            most = node.room if node.id in self._fit else 1
            while taken[node.id] < most and staying < self._room:
                self._start(node)
                taken[node.id] += 1
                staying += 1
        self._check_patience()

    def _announce(self, found: dict[str, Node]) -> None:
        joined = [found[name].host for name in found if self._known and name not in self._known]
        for host in joined:
            self._say(f"{host} joins the cluster.")
        self._known |= found.keys()

    def _check_patience(self) -> None:
        if self._actors:
            self._alone_since = time.monotonic()
        elif self._problem and not self._room:
            raise self._problem
        elif time.monotonic() - self._alone_since > _PATIENCE_SECONDS:
            raise ZooError(
                f"No machine of the cluster has room for a worker, which needs {self._needs}.",
                "Add machines, or ask for less: --worker-cpus, --worker-gpus.",
            )

    def _start(self, node: Node) -> None:
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        options: dict[str, Any] = {
            "num_cpus": self._needs.cpus,
            "num_gpus": self._needs.gpus,
            "resources": dict(self._needs.others),
            "max_restarts": 0,
            "scheduling_strategy": NodeAffinitySchedulingStrategy(node.id, soft=False),
        }
        handle: Any = self._ray.remote(Host).options(**options).remote()
        self._actors.append(_Actor(handle, node, handle.build.remote(self._job)))

    def _hand_out(self, queue: TaskQueue) -> None:
        """Give each worker a task, and then each a second one."""
        for depth in range(1, DEPTH + 1):
            for actor in self._actors:
                if actor.building is None and not actor.leaving and len(actor.tasks) < depth:
                    if (found := queue.take()) is None:
                        return
                    actor.tasks[actor.handle.run.remote(found[1])] = found[0]

    def _listen(self, queue: TaskQueue) -> None:
        """Wait a moment for results; find actors that are gone."""
        waiting = {
            reference: actor
            for actor in self._actors
            for reference in (*actor.tasks, *([actor.building] if actor.building is not None else []))
        }
        if not waiting:
            time.sleep(_LOOK_SECONDS / 10)
            return
        ready, _ = self._ray.wait(list(waiting), num_returns=1, timeout=_LOOK_SECONDS)
        more, _ = self._ray.wait(list(waiting), num_returns=len(waiting), timeout=0)
        done = {*ready, *more}
        # In the order of its tasks: a task that an actor ended before it was lost is not lost.
        for reference, actor in waiting.items():
            if reference in done and actor in self._actors:
                self._take(actor, reference, queue)
        for actor in [actor for actor in self._actors if actor.leaving and not actor.tasks]:
            self._remove(actor)

    def _take(self, actor: _Actor, reference: Any, queue: TaskQueue) -> None:
        """Take what an actor returned."""
        from ray.exceptions import RayError

        try:
            kind, value = self._ray.get(reference)
        except RayError as error:
            self._lose(actor, error, queue)
            return
        if kind == "result":
            queue.done(actor.tasks.pop(reference), value)
        elif kind == "ready":
            actor.building = None
            self._check(actor, value)
        elif kind == "unbuilt":
            self._refuse(actor, ZooError(*value))
        else:
            raise ZooError(*value)

    def _check(self, actor: _Actor, description: Any) -> None:
        try:
            self._accept(description)
        except Refused as refusal:
            self._refuse(actor, ZooError(str(refusal), "Make the machines alike."))
            return
        self._fit.add(actor.node.id)
        self._looked = 0.0  # the machine's other workers can be started

    def _refuse(self, actor: _Actor, problem: ZooError) -> None:
        """Use no worker of this machine."""
        self._remove(actor)
        line = f"{actor.node.host} is not used: {problem.message}"
        if line not in self._unfit.values():
            self._say(line)
        self._unfit[actor.node.id] = line
        self._problem = ZooError(f"{actor.node.host}: {problem.message}", problem.remedy)
        self._looked = 0.0

    def _lose(self, actor: _Actor, error: Exception, queue: TaskQueue) -> None:
        """Have the tasks of an actor that is gone done by others."""
        from ray.exceptions import ActorDiedError, ActorUnavailableError, ObjectLostError

        host, reason = actor.node.host, _reason(error)
        died = isinstance(error, (ActorDiedError, ActorUnavailableError, ObjectLostError))
        if actor.building is not None and (not died or self._failures[actor.node.id] >= _ATTEMPTS - 1):
            self._refuse(actor, PluginError(f"No worker starts there: {reason}", _REMEDY))
            return
        if not died:
            raise PluginError(f"{host}: {reason}", "See the logs of Ray.") from error
        if actor.building is not None:
            self._failures[actor.node.id] += 1
        # The first was in work; the others were not begun.
        for position, number in enumerate(actor.tasks.values()):
            (queue.give_back if position else queue.lost)(number)
        self._remove(actor)
        self._say(f"A worker on {host} is lost; its tasks go to others.")
        self._looked = 0.0

    def _remove(self, actor: _Actor) -> None:
        self._ray.kill(actor.handle)
        self._actors.remove(actor)


def _reason(error: Exception) -> str:
    """Return the last line that says something: Ray puts the cause at the end."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
