"""Compare the speed of several implementations on a machine that also does other work.

The implementations ("sides") run in turn, a short round each, so that other work on the machine slows all of
them alike. A ratio is computed for each round and reported as the median with the quartiles.
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
    """Median, lower and upper quartile of several measurements, and how many there were."""

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
    """Return the seconds of every side, round by round. A first round warms up and is not counted."""
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
    """Return their time divided by ours, computed for each round."""
    return Spread.of([a / b for a, b in zip(theirs, ours, strict=True)])


def peak_memory(process: int | str = "self") -> int:
    """Return the peak memory of a process in bytes; the GPU's memory, if this process used one."""
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        return int(torch.cuda.max_memory_allocated())
    try:
        # ru_maxrss would include the parent that this process was forked from.
        status = Path(f"/proc/{process}/status").read_text(encoding="ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024
    except FileNotFoundError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


class Served:
    """Run a side in a separate process, ``python -m module …``, which calls :func:`serve`.

    Call it with what its rounds are told.
    """

    def __init__(self, module: str, *arguments: object) -> None:
        command = [sys.executable, "-m", module, *map(str, arguments)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._answer()

    def __call__(self, *words: object) -> None:
        """Run one round."""
        assert self.process.stdin
        self.process.stdin.write(f"{' '.join(map(str, words))}\n")
        self.process.stdin.flush()
        self._answer()

    def _answer(self) -> None:
        assert self.process.stdout
        while (line := self.process.stdout.readline()) != READY:
            if not line:
                raise RuntimeError(f"{self.process.args} ended with {self.process.wait()}")

    def peak(self) -> int:
        """Return the peak memory of the process so far, in bytes; what it maps from files is included."""
        return peak_memory(self.process.pid)

    def __enter__(self) -> Served:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def end(self) -> None:
        """End the process."""
        self.process.communicate()


def serve(run: Callable[..., object]) -> None:
    """Run one round for every line on stdin; called in the process of a :class:`Served`."""
    print(READY, end="", flush=True)
    for line in sys.stdin:
        run(*line.split())
        _wait_for_gpu()
        print(READY, end="", flush=True)


def in_child(module: str, *arguments: object) -> dict[str, Any]:
    """Run ``python -m module … --started SECONDS`` and return the JSON object on its last line."""
    command = [sys.executable, "-m", module, *map(str, arguments), "--started", str(time.time())]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def add_device(parser: argparse.ArgumentParser) -> None:
    """Add ``--device``: both sides run on it."""
    parser.add_argument("--device", default="cpu", help="run both sides on cpu or cuda (default: cpu)")


def add_json(parser: argparse.ArgumentParser, benchmark: str) -> None:
    """Add ``--json``: the file for :func:`write_results`."""
    parser.add_argument(
        "--json",
        type=Path,
        default=Path(f"out/benchmarks/{benchmark}.json"),
        help="file for the results; docs/benchmarks.md shows benchmarks/results/ (default: %(default)s)",
    )


def write_results(
    path: Path,
    benchmark: str,
    device: Mapping[str, Any],
    comparisons: Sequence[Mapping[str, Any]],
    **settings: Any,
) -> None:
    """Write the results of a benchmark as JSON; tools/build_docs.py renders them.

    Args:
        path: The file; its folder is made if need be.
        benchmark: Name of the module in benchmarks/.
        device: From :func:`machine`.
        comparisons: One mapping per case and baseline: ``case`` says what was run; ``baseline`` has a
            ``name`` and measurements; ``zoo`` has measurements by variant. All measurements are optional:
            ``seconds``, ``first_token_seconds``, ``tokens_per_second``, ``samples_per_second``,
            ``speedup`` (a :class:`Spread`), ``time_ratio``, ``share`` (of the memory's rate),
            ``peak_bytes``, ``difference``.
        settings: What else is needed to repeat the run, such as ``per`` (what ``seconds`` are for: a step).
    """
    results = {
        "benchmark": benchmark,
        "date": time.strftime("%Y-%m"),
        "machine": dict(device),
        "load_after": [round(load, 1) for load in os.getloadavg()],
        **settings,
        "comparisons": list(comparisons),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    print(f"\nwritten to {path}")


def machine(device: str = "cpu") -> dict[str, Any]:
    """Describe the machine; the load average shows how much other work it did."""
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
