"""The engine ``local``: one process for each device of this machine."""

from __future__ import annotations

import multiprocessing
import os
import re
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any, Self

from zoo_core.engines.building import build_worker, unexpected
from zoo_core.engines.protocol import Accept, Job, Refused, Say
from zoo_core.engines.queue import TaskQueue
from zoo_core.errors import OptionError, ZooError

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

AHEAD = 8
"""Tasks per worker that may be ahead of the oldest unfinished one."""
_MOST_DEVICES = 1024


class LocalEngine:
    """Runs workers as processes, one for each of ``devices``."""

    def __init__(self, devices: str) -> None:
        self.devices = parse_devices(devices)

    def start(self, job: Job, accept: Accept, say: Say) -> LocalSession:
        """Start the processes."""
        return LocalSession(self.devices, job, accept, say)


def parse_devices(text: str) -> tuple[str, ...]:
    """Read ``0,1`` (CUDA devices), ``cpu:2`` (two processes on the CPU), ``mps``, or a list of them.

    Raises:
        OptionError: It is something else.
    """
    devices: list[str] = []
    for part in text.split(","):
        found = re.fullmatch(r"(?:(cpu):)?(\d{1,4})|cpu|mps|cuda(?::\d{1,4})?", part.strip())
        if not found:
            raise OptionError(f"{text!r} is not a list of devices.", "Give --devices 0,1 or cpu:2.")
        if found[1]:
            devices += ["cpu"] * int(found[2])
        else:
            devices.append(f"cuda:{found[2]}" if found[2] else found[0])
    if not 1 <= len(devices) <= _MOST_DEVICES:
        raise OptionError(f"{text!r} names {len(devices)} devices.", f"Give 1 to {_MOST_DEVICES}.")
    return tuple(devices)


@dataclass
class _Process:
    """A worker's process, seen from the driver."""

    device: str
    process: BaseProcess
    pipe: Connection
    ready: bool = False
    task: int | None = None


class LocalSession:
    """The processes of one job."""

    def __init__(self, devices: tuple[str, ...], job: Job, accept: Accept, say: Say) -> None:
        self._job, self._accept, self._say = job, accept, say
        self._devices = devices
        self._spawn = multiprocessing.get_context("spawn")
        self._problem: ZooError | None = None
        self._processes: list[_Process] = []
        self._restarts = 0
        for device in devices:
            self._start(device)

    @property
    def workers(self) -> int:
        """The number of processes."""
        return len(self._processes)

    def run(self, tasks: Iterable[Any]) -> Iterator[tuple[Any, Any]]:
        """Yield (task, result) in order; see :class:`zoo_core.engines.protocol.Session`."""
        queue = TaskQueue(tasks, AHEAD * max(1, self.workers))
        while True:
            self._hand_out(queue)
            if queue.is_done:
                return
            if not self._processes:
                raise self._problem or ZooError("All workers were lost.", "Run again with --resume.")
            self._listen(queue)
            yield from queue.ready()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for each in self._processes:
            each.process.terminate()
        for each in self._processes:
            each.process.join(5)
            if each.process.is_alive():
                each.process.kill()
            each.pipe.close()
        self._processes.clear()

    def _start(self, device: str) -> None:
        ours, theirs = self._spawn.Pipe()
        threads = max(1, (os.cpu_count() or 1) // self._devices.count(device))
        process = self._spawn.Process(target=_work, args=(theirs, self._job, device, threads), daemon=True)
        process.start()
        theirs.close()
        self._processes.append(_Process(device, process, ours))

    def _hand_out(self, queue: TaskQueue) -> None:
        for each in self._processes:
            if each.ready and each.task is None and (found := queue.take()):
                each.task = found[0]
                with suppress(OSError):  # the process is lost, which _listen finds
                    each.pipe.send(found[1])

    def _listen(self, queue: TaskQueue) -> None:
        """Wait until a process says something or ends."""
        by_pipe = {each.pipe: each for each in self._processes}
        for pipe in wait(list(by_pipe)):
            each = by_pipe[pipe]  # type: ignore[index]
            try:
                kind, value = each.pipe.recv()
            except (EOFError, OSError):
                self._lose(each, queue)
                continue
            if kind == "ready":
                self._check(each, value)
            elif kind == "result":
                assert each.task is not None
                queue.done(each.task, value)
                each.task = None
            else:
                self._problem = ZooError(*value)
                if kind == "error":
                    raise self._problem
                self._remove(each)  # it could not be built

    def _check(self, each: _Process, description: Any) -> None:
        try:
            self._accept(description)
            each.ready = True
        except Refused as refusal:
            self._problem = ZooError(
                f"The worker on {each.device} is not used: {refusal}", "Use like devices."
            )
            self._say(self._problem.message)
            self._remove(each)

    def _lose(self, each: _Process, queue: TaskQueue) -> None:
        """Give the task of a process that ended to another, and start one in its place."""
        each.process.join(5)
        began = each.ready
        self._remove(each)
        code = each.process.exitcode
        self._say(f"The worker on {each.device} ended (exit status {code}); {self._instead(began)}.")
        if each.task is not None:
            queue.lost(each.task)
        if began:
            self._start(each.device)
        else:
            self._problem = ZooError(
                f"The worker on {each.device} ended while it started (exit status {code}).",
                "Try fewer --devices: the memory may not suffice.",
            )

    def _instead(self, began: bool) -> str:
        return "another one is started" if began else "it had not started"

    def _remove(self, each: _Process) -> None:
        self._processes.remove(each)
        each.pipe.close()


def _work(pipe: Connection, job: Job, device: str, threads: int) -> None:
    """Build a worker and do tasks, until the driver closes the pipe."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the driver ends this one
    os.dup2(sys.stderr.fileno(), 1)  # stdout is for results
    os.environ.setdefault("OMP_NUM_THREADS", str(threads))
    try:
        worker = _reported(pipe, "unbuilt", "starting a worker", lambda: build_worker(job, device))
        pipe.send(("ready", worker.describe()))
        while True:
            task = pipe.recv()
            result = _reported(pipe, "error", "running a task", lambda task=task: worker.run(task))  # type: ignore[misc]
            pipe.send(("result", result))
    except (EOFError, OSError):
        return


def _reported(pipe: Connection, kind: str, doing: str, act: Callable[[], Any]) -> Any:
    """Do something; send an error to the driver and end."""
    try:
        return act()
    except ZooError as error:
        problem = error
    except Exception as error:
        problem = unexpected(error, doing)
    pipe.send((kind, (problem.message, problem.remedy)))
    raise EOFError
