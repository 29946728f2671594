"""Sample on a Ray cluster of three machines, all on this one, while workers are killed and machines change.

A worker is killed -9 every 20 seconds. After a third of the samples one machine is stopped; another joins.
Then the files are compared with those of one process: names, bytes, and the order of the index.

    python -m tools.ray_soak MODEL [-n 5000] [--every 20] [OPTIONS OF zoo run]
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

SMALL = {"object_store_memory": 80 * 2**20}


def main() -> None:
    """Run on one process and on the cluster, and compare."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model")
    parser.add_argument("-n", type=int, default=5000)
    parser.add_argument(
        "--every", type=float, default=20, help="seconds between kills (default: %(default)s)"
    )
    arguments, options = parser.parse_known_args()
    os.environ |= {
        "RAY_DEDUP_LOGS_SKIP_REGEX": ".",
        "RAY_memory_monitor_refresh_ms": "0",  # others may fill this machine's memory
        "OMP_NUM_THREADS": "1",
        "ZOO_SOAK": str(os.getpid()),
    }
    with TemporaryDirectory() as folder:
        whole, spread = Path(folder, "whole"), Path(folder, "spread")
        words = ["run", arguments.model, "-n", str(arguments.n), "--seed", "0", *options, "-q"]
        began = time.monotonic()
        subprocess.run([*zoo(), *words, "-o", f"{whole}/"], check=True, stdout=subprocess.DEVNULL)
        middle = time.monotonic()
        killed = disturb(words, spread, arguments.n, arguments.every)
        end = time.monotonic()
        compare(whole, spread)
        print(f"{arguments.n:,} samples of {arguments.model}: the same files, in the same order.")
        print(f"{killed} workers were killed, a machine was stopped, one joined.", end=" ")
        print(f"One process took {middle - began:.0f} s, the cluster {end - middle:.0f} s.")


def zoo() -> list[str]:
    """Return the command zoo."""
    return [sys.executable, "-m", "zoo_core"]


def disturb(words: list[str], out: Path, count: int, every: float) -> int:
    """Run on a cluster and disturb the run; return the number of workers that were killed."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False, **SMALL}
    )
    machines = [cluster.add_node(num_cpus=1, wait=False, **SMALL) for _ in range(3)]
    cluster.wait_for_nodes(120)
    command = [*zoo(), *words, "-o", f"{out}/", "--engine", "ray", "--address", cluster.address]
    killed, changed = 0, False
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    next_kill = time.monotonic() + every
    while driver.poll() is None:
        if time.monotonic() > next_kill and (workers := workers_of_this_run()):
            os.kill(min(workers), signal.SIGKILL)  # the oldest
            killed, next_kill = killed + 1, time.monotonic() + every
        if not changed and len(list(out.glob("seed*"))) >= count / 3:
            cluster.remove_node(machines[0], allow_graceful=False)
            cluster.add_node(num_cpus=1, wait=False, **SMALL)
            changed = True
        time.sleep(0.2)
    cluster.shutdown()
    if driver.returncode:
        raise SystemExit(driver.returncode)
    return killed


def workers_of_this_run() -> list[int]:
    """Return the actors that are ready; they inherit this process's environment."""
    found = []
    mark = f"ZOO_SOAK={os.getpid()}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            title = (process / "cmdline").read_bytes()
            is_ready = b"ray::Host" in title and b"Host.build" not in title and b"__init__" not in title
            if is_ready and mark in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
    return found


def compare(whole: Path, spread: Path) -> None:
    """Compare the folders, and the index of the second with its files."""
    import pyarrow.parquet as pq

    names = sorted(path.name for path in whole.iterdir())
    assert sorted(path.name for path in spread.iterdir()) == sorted([*names, "index.parquet"])
    assert all((whole / name).read_bytes() == (spread / name).read_bytes() for name in names)
    rows = pq.read_table(spread / "index.parquet").to_pylist()
    samples = [name for name in names if not name.endswith(".json")]  # a text's record is in a second file
    assert [(row["index"], row["seed"]) for row in rows] == [(place, place) for place in range(len(samples))]
    assert sorted(row["file"] for row in rows) == samples


if __name__ == "__main__":
    main()
