"""Samples a second on workers of Ray and in plain processes; memory of the driver; many machines.

The parts are those of docs/scale.md:

- throughput: a built-in model, one thread a worker, on one and two workers of Ray, beside one and two plain
  processes (``zoo run --shard I/N``). The rate is that between a tenth and nine tenths of the samples, by the
  times of the files, so loading is not counted. The sides run in turn.
- memory: the driver's peak for more and more small samples, the size of their index, and of their files.
- machines: tasks a second of workers that sleep, on more and more machines of Ray that all are this one.

    python -m benchmarks.scale [--part throughput] [--rounds 3] [--samples 240] [--steps 5] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.interleave import add_json, machine, peak_memory, speedup, write_results
from zoo_core import Job
from zoo_core.testing.plugins import write_plugin

MODEL = "ddpm-digits"
SIDES = {
    "process": ("plain process", "plain processes"),
    "worker": ("worker of Ray", "workers of Ray"),
}
SMALL = {"object_store_memory": 80 * 2**20}
RAY = "zoo on Ray"
BATCH = 4
QUIET = {
    "OMP_NUM_THREADS": "1",
    "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
    "RAY_memory_monitor_refresh_ms": "0",  # others may fill this machine's memory
}
TASK_SECONDS = 0.1
MANIFEST = """
schema = 1
[plugin]
name = "zoo-small"
summary = "Tiny images"
[[model]]
id = "small"
summary = "8×8 images of noise"
family = "toy"
output = "image"
license = "mit"
weights = { embedded = "weights" }
"""
SOURCE = """
import time
from zoo_core import Step, hookimpl

@hookimpl
def zoo_create_generator(card):
    return Small()

class Small:
    dtype = "float32"
    batch_size = 16
    def generate(self, batch):
        yield Step(images=batch.noise.uniform(1, 8, 8) * 2 - 1)

class Sleeper:
    def __init__(self, device=None):
        pass
    def describe(self):
        return None
    def run(self, seconds):
        time.sleep(seconds)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {"throughput": throughput, "memory": memory, "machines": machines}
    parser.add_argument("--part", choices=parts, action="append", help="one part only; may be repeated")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--samples", type=int, default=240, help="samples of a round (default: %(default)s)")
    parser.add_argument("--steps", type=int, default=5, help="steps of the model (default: %(default)s)")
    parser.add_argument("--small", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    parser.add_argument("--machines", type=int, nargs="+", default=[1, 2, 4, 8, 16])
    add_json(parser, "scale")
    arguments = parser.parse_args()
    about = machine()
    with TemporaryDirectory() as folder:
        site = Path(folder, "site")
        write_plugin(site, "zoo-small", MANIFEST, SOURCE, files={"weights/config.json": "{}"})
        os.environ |= QUIET | {"PYTHONPATH": str(site)}
        sys.path.append(str(site))
        comparisons: list[dict[str, Any]] = []
        for name in arguments.part or parts:
            comparisons += parts[name](arguments, Path(folder))
    write_results(arguments.json, "scale", about, comparisons)


@contextmanager
def cluster(workers: int) -> Iterator[str]:
    """The address of a cluster: a head without room, and machines with a CPU each, all on this machine."""
    from ray.cluster_utils import Cluster

    head = {"num_cpus": 0, "include_dashboard": False, **SMALL}
    made = Cluster(initialize_head=True, head_node_args=head)
    try:
        for _ in range(workers):
            made.add_node(num_cpus=1, wait=False, **SMALL)
        made.wait_for_nodes(120)
        yield made.address
    finally:
        made.shutdown()


def zoo(*words: object) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "zoo_core", *map(str, words), "-q"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL)


def throughput(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Measure one and two plain processes and workers in turn."""
    words = ("run", MODEL, "--seed", 0, "--steps", arguments.steps, "--batch-size", BATCH)
    rates: dict[str, list[float]] = {}

    with cluster(2) as address:
        for number in range(arguments.rounds):
            for count in (1, 2):
                for side in ("process", "worker"):
                    out = folder / f"{side}-{count}-{number}"
                    many = ("-n", arguments.samples * count, "-o", out)
                    if side == "worker":
                        each = [("--engine", "ray", "--address", address, "--workers", count)]
                    else:
                        each = [("--shard", f"{shard}/{count}") for shard in range(1, count + 1)]
                    wait_for([zoo(*words, *many, *options) for options in each])
                    name = f"{count} {SIDES[side][count > 1]}"
                    rates.setdefault(name, []).append(rate(out))
                    print(f"{name}: {rates[name][-1]:.1f} samples/s", flush=True)
    pairs = [
        ("2 workers of Ray", "1 worker of Ray"),
        ("1 worker of Ray", "1 plain process"),
        ("2 workers of Ray", "2 plain processes"),
    ]
    return [
        {
            "case": f"{ours}: {MODEL}, {arguments.steps} steps",
            "baseline": {"name": theirs, "samples_per_second": median(rates[theirs])},
            "zoo": {
                RAY: {
                    "speedup": vars(speedup(rates[ours], rates[theirs])),
                    "samples_per_second": median(rates[ours]),
                }
            },
        }
        for ours, theirs in pairs
    ]


def rate(folder: Path) -> float:
    """Return samples a second between a tenth and nine tenths of the images in a folder."""
    times = sorted(path.stat().st_mtime for path in folder.glob("*.png"))
    # The images of a batch are written together: count from the end of a batch to the end of another.
    first, last = (part // BATCH * BATCH - 1 for part in (max(len(times) // 10, BATCH), len(times) * 9 // 10))
    return (last - first) / (times[last] - times[first])


def memory(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Measure the driver's peak memory, seconds a sample, and what is written, for more and more samples."""
    found = []
    with cluster(2) as address:
        for count in arguments.small:
            out = folder / f"small-{count}"
            began = time.monotonic()
            driver = zoo(
                "run", "small", "-n", count, "--seed", 0, "-o", out, "--engine", "ray", "--address", address
            )
            peak = 0
            while driver.poll() is None:
                with suppress(OSError, StopIteration):
                    peak = max(peak, peak_memory(driver.pid))
                time.sleep(0.05)
            wait_for([driver])
            seconds = time.monotonic() - began
            index = (out / "index.parquet").stat().st_size
            size = sum(path.stat().st_blocks * 512 for path in out.glob("*.png"))
            print(f"{count:,} samples: driver {peak / 2**20:,.0f} MiB, {seconds:.1f} s", end=", ")
            print(f"index {index / count:.0f} B and files {size / count:,.0f} B a sample", flush=True)
            found.append((count, peak, seconds, index, size))
    least = found[0]
    return [
        {
            "case": f"driver, {count:,} small samples",
            "baseline": {"name": f"{least[0]:,} samples", "peak_bytes": least[1]},
            "zoo": {RAY: {"peak_bytes": peak, "seconds": seconds, "index_bytes": index, "file_bytes": size}},
        }
        for count, peak, seconds, index, size in found
    ]


def machines(arguments: argparse.Namespace, folder: Path) -> list[dict[str, Any]]:
    """Measure tasks a second of workers that sleep, and of workers that do nothing, by number of machines."""
    from zoo_ray.engine import RayEngine

    rates: dict[int, float] = {}
    for count in arguments.machines:
        with cluster(count) as address:
            engine = RayEngine(address, count, 1.0, None, None)
            with engine.start(Job("zoo_small:Sleeper", {}), lambda description: None, print) as session:
                # All workers are there after the first tasks.
                for _ in session.run([TASK_SECONDS] * 30 * count):
                    pass
                rates[count] = _tasks_per_second(session, [TASK_SECONDS] * 50 * count)
                idle = _tasks_per_second(session, [0.0] * 2000)
        print(
            f"{count} machines: {rates[count]:.1f} tasks/s of {TASK_SECONDS} s; {idle:.0f} tasks/s of 0 s",
            flush=True,
        )
    first = min(rates)
    return [
        {
            "case": f"tasks of {TASK_SECONDS} s, {count} machines",
            "baseline": {"name": f"{first} machine", "tasks_per_second": rates[first]},
            "zoo": {RAY: {"tasks_per_second": each, "share_of_ideal": each / count * TASK_SECONDS}},
        }
        for count, each in rates.items()
    ]


def _tasks_per_second(session: Any, tasks: Sequence[float]) -> float:
    began = time.monotonic()
    for _ in session.run(tasks):
        pass
    return len(tasks) / (time.monotonic() - began)


def wait_for(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    """Wait for processes, which must succeed."""
    for process in processes:
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, process.args)


if __name__ == "__main__":
    main()
