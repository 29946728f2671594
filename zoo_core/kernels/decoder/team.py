"""Threads that run one compiled function together: the caller and workers that sleep between calls."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from functools import lru_cache

import torch

from zoo_core.kernels.decoder.native import load_step

Run = Callable[[int, int], object]
"""Called as run(address of a block, number of the thread)."""


class Team:
    """Call the compiled function in several threads at once.

    Args:
        run: The function, which must not hold the interpreter's lock.
        threads: Number of threads, the caller's included.
    """

    def __init__(self, run: Run, threads: int) -> None:
        self.run, self.threads = run, threads
        self.lock = threading.Lock()
        """One call at a time: a worker that served two callers would make each wait for the other."""
        self.barrier = torch.zeros(16, dtype=torch.int64)
        """Where the threads wait for each other."""
        self.process = 0
        self.workers: list[_Worker] = []

    def __call__(self, block: int) -> None:
        """Run a block in all threads; return when all are done."""
        with self.lock:
            if self.process != os.getpid():  # threads do not survive a fork
                self.process = os.getpid()
                self.workers = [_Worker(self.run, number) for number in range(1, self.threads)]
            for worker in self.workers:
                worker.start(block)
            self.run(block, 0)
            for worker in self.workers:
                worker.wait()


@lru_cache(maxsize=4)
def team_of(threads: int) -> Team:
    """Return the process's only team of this size: two would keep each other from the cores."""
    return Team(load_step(), threads)


class _Worker:
    def __init__(self, run: Run, number: int) -> None:
        self.run, self.number, self.block = run, number, 0
        self.begin, self.done = threading.Semaphore(0), threading.Semaphore(0)
        threading.Thread(target=self._serve, daemon=True, name=f"zoo-step-{number}").start()

    def start(self, block: int) -> None:
        self.block = block
        self.begin.release()

    def wait(self) -> None:
        self.done.acquire()

    def _serve(self) -> None:
        while True:
            self.begin.acquire()
            self.run(self.block, self.number)
            self.done.release()
