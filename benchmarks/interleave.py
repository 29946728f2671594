"""Fair comparison on a machine that is never quite quiet: rounds taken in turn, and ratios with their spread.

What is compared runs alternately, a short round each, so that whatever else the machine does meets all
alike. A ratio is taken round by round, and told as its median with the quartiles.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median, quantiles
from typing import Any

READY = "ready\n"


@dataclass(frozen=True)
class Spread:
    """The middle of several figures: median, lower and upper quartile, and how many there were."""

    median: float
    low: float
    high: float
    rounds: int

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        low, _, high = quantiles(figures, n=4, method="inclusive") if len(figures) > 1 else figures * 3
        return cls(median(figures), low, high, len(figures))

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}–{self.high:.2f})"


def in_turn(sides: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of every side, round by round; one more round, before the others, is for warming up."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, run in sides.items():
            start = time.perf_counter()
            run()
            _wait_for_gpu()
            if number:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def speedup(theirs: Sequence[float], ours: Sequence[float]) -> Spread:
    """How many times as fast ours is, round by round."""
    return Spread.of([a / b for a, b in zip(theirs, ours, strict=True)])


def peak_memory() -> int:
    """The most bytes this process ever had in memory; on a GPU, if it used one."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    try:
        # ru_maxrss would count the parent this process was forked from.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class Served:
    """A side in a process of its own, ``python -m module …``, that answers by :func:`serve`."""

    def __init__(self, module: str, *arguments: object) -> None:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def __call__(self) -> None:
        """Run a round."""
        assert self.process.stdin
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        assert self.process.stdout
        while (line := self.process.stdout.readline()) != READY:
            if not line:
                raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.communicate()


def serve(run: Callable[[], object]) -> None:
    """In the process of a :class:`Served`: run a round for every line that comes in."""
    print(READY, end="", flush=True)
    for _ in sys.stdin:
        run()
        _wait_for_gpu()
        print(READY, end="", flush=True)


def in_child(module: str, *arguments: object) -> dict[str, Any]:
    """Run ``python -m module … --started SECONDS`` and return the JSON object on its last line."""
    command = [sys.executable, "-m", module, *map(str, arguments), "--started", str(time.time())]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``, where both sides run."""
    parser.add_argument("--device", default="cpu", help="cpu (as it is by itself) or cuda")


def machine(device: str = "cpu") -> dict[str, Any]:
    """What the figures were taken on; the load average tells how quiet it was."""
    return {
        "processor": _processor() if device == "cpu" else _gpu(device),
        "cores": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "load": [round(load, 1) for load in os.getloadavg()],
    }


def _wait_for_gpu() -> None:
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.synchronize()


def _gpu(device: str) -> str:
    import torch

    return str(torch.cuda.get_device_name(device))


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown")
