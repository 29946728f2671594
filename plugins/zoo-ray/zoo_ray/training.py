"""Training on the cluster: processes that are started together, with the variables that torchrun sets."""

from __future__ import annotations

import contextlib
import io
import os
import pkgutil
import socket
import time
from collections.abc import Mapping
from typing import Any

from zoo_core import Job, PluginError, Say, ZooError
from zoo_ray.cluster import ON_HEAD, Needs, nodes
from zoo_ray.versions import check_versions, zoo_versions

_LOOK_SECONDS = 0.5
"""How often lines are fetched."""
_PATIENCE_SECONDS = 60
"""How long the cluster may have no room for all processes."""
_SETTLE_SECONDS = 5
"""After a problem, how long the others have to say theirs: a lost process is the cause of the rest."""
_STARTS = 4
"""How often the processes are started, if one is lost each time."""


class _Lost(Exception):
    """A process or its machine is gone."""


def train_together(job: Job, needs: Needs, limit: int | None, say: Say) -> Any:
    """Call a function in several processes at the same time; see :class:`zoo_core.TrainingEngine`.

    Ray must be connected. A process that is lost ends all; they are started again where there is room.
    """
    from ray.exceptions import RayError

    room = sum(node.room for node in nodes(needs).values())
    count = limit or room
    if not 0 < count <= room:
        raise ZooError(
            f"The cluster has room for {room} of {count or 1} processes, each of which needs {needs}.",
            "Add machines, or ask for less: --workers, --worker-cpus, --worker-gpus.",
        )
    for start in range(1, _STARTS + 1):
        try:
            return _Processes(job, needs, count).run(say)
        except (_Lost, RayError):
            if start == _STARTS:
                raise ZooError(
                    f"Processes were lost {start} times.", "See the logs of Ray; the same command resumes."
                ) from None
            say("A process is lost; all are started again, from the last checkpoint.")
    raise AssertionError


class _Processes:
    """The processes of one start, in a placement group."""

    def __init__(self, job: Job, needs: Needs, count: int) -> None:
        import ray
        from ray.util.placement_group import placement_group
        from ray.util.queue import Queue

        self._ray = ray
        self._needs = needs
        self._group = placement_group([dict(needs.wanted)] * count, strategy="SPREAD")
        self._lines = Queue(actor_options={"num_cpus": 0, "resources": dict(ON_HEAD)})
        self._stopping = False
        if not self._group.wait(_PATIENCE_SECONDS):
            self._end()
            raise ZooError(
                f"The cluster has no room for {count} processes, each of which needs {needs}.",
                "Add machines, or ask for less: --workers, --worker-cpus, --worker-gpus.",
            )
        host, port = ray.get(self._in_group(_free_address, 0).remote())
        self._references = [
            self._in_group(_process, rank).remote(
                job,
                {
                    "RANK": str(rank),
                    "WORLD_SIZE": str(count),
                    "LOCAL_RANK": "0",  # Ray lets a process see no device but its own
                    "MASTER_ADDR": host,
                    "MASTER_PORT": str(port),
                },
                zoo_versions(),
                None if rank else self._lines,
            )
            for rank in range(count)
        ]

    def run(self, say: Say) -> Any:
        """Wait for all processes, say what the first one prints, and return what it returns."""
        try:
            while True:
                try:
                    return self._results(say)[0]
                except KeyboardInterrupt:
                    if self._stopping:
                        raise
                    self._stopping = True
                    for reference in self._references:
                        self._ray.cancel(reference)  # raises SIGINT in the process
        finally:
            self._end()

    def _results(self, say: Say) -> list[Any]:
        pending, problem, until = self._references, None, float("inf")
        while pending and time.monotonic() < until:
            ready, pending = self._ray.wait(pending, timeout=_LOOK_SECONDS)
            self._say_lines(say)
            for reference in ready:
                found = self._problem_of(reference)
                if isinstance(found, _Lost):
                    raise found
                if found and not problem:
                    problem, until = found, time.monotonic() + _SETTLE_SECONDS
        if problem:
            raise problem
        return [value for _, value in self._ray.get(self._references)]

    def _problem_of(self, reference: Any) -> BaseException | None:
        from ray.exceptions import RayError, TaskCancelledError

        try:
            kind, value = self._ray.get(reference)
        except TaskCancelledError:
            return KeyboardInterrupt()
        except RayError:
            return _Lost()
        return PluginError(*value) if kind == "error" else None

    def _say_lines(self, say: Say) -> None:
        for line in self._lines.get_nowait_batch(self._lines.qsize()):
            say(line)

    def _in_group(self, function: Any, rank: int) -> Any:
        from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

        # A process of Ray that has been in a group cannot join another: each takes one call.
        return self._ray.remote(max_calls=1)(function).options(
            num_cpus=self._needs.cpus,
            num_gpus=self._needs.gpus,
            resources=dict(self._needs.others),
            max_retries=0,
            scheduling_strategy=PlacementGroupSchedulingStrategy(self._group, rank),
        )

    def _end(self) -> None:
        from ray.util.placement_group import remove_placement_group

        remove_placement_group(self._group)  # and the processes in it
        self._lines.shutdown(force=True)


class _Lines(io.TextIOBase):
    """A stream whose lines go to the driver."""

    def __init__(self, lines: Any) -> None:
        self._lines, self._begun = lines, ""

    def write(self, text: str) -> int:
        """Send the lines that are complete; a process that is not the first sends none."""
        *whole, self._begun = (self._begun + text).split("\n")
        if whole and self._lines is not None:  # an empty queue is false
            self._lines.put_nowait_batch(whole)
        return len(text)


def _free_address() -> tuple[str, int]:
    """Return the address of this machine and a free port."""
    from ray.util import get_node_ip_address

    with socket.socket() as free:
        free.bind(("", 0))
        return get_node_ip_address(), free.getsockname()[1]  # type: ignore[no-untyped-call]


def _process(job: Job, variables: Mapping[str, str], versions: Mapping[str, str], lines: Any) -> Any:
    """Return ("result", what the target returns) or ("error", (message, remedy))."""
    os.environ.update(variables)
    stream: Any = _Lines(lines)
    try:
        check_versions(versions)
        with contextlib.redirect_stdout(stream), contextlib.redirect_stderr(stream):
            return "result", pkgutil.resolve_name(job.target)(**job.arguments)
    except ZooError as error:
        return "error", (error.message, error.remedy)
    except Exception as error:
        return "error", (f"{type(error).__name__}: {error}", "See the logs of Ray.")
