"""Time of ``import zoo_core``, ``zoo list`` and ``zoo search`` with many plugins installed.

Every command runs in a separate process; the commands run in turn, for many rounds. The median of each is
compared with an empty interpreter and with ``import torch``, which do not depend on this project. "No cache"
is the first run, before any manifest has been read.

    python -m benchmarks.listing [--plugins 100] [--models 2] [--rounds 20] [--json FILE]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from benchmarks.interleave import add_json, machine, write_results
from zoo_core.testing.plugins import write_plugin

MANIFEST = """\
schema = 1
[plugin]
name = "zoo-synthetic-{number}"
summary = "Synthetic plugin {number}"

[options.steps]
type = "integer"
default = 50
minimum = 1
maximum = 1000
description = "Number of denoising steps. More steps take longer and improve quality."

[options.sampler]
type = "string"
default = "ddim"
enum = ["ddpm", "ddim", "dpmpp-2m"]
description = "Sampling algorithm."

"""

MODEL = """\
[[model]]
id = "synthetic-{number}-{model}-small"
aliases = ["someone/synthetic-{number}-{model}"]
summary = "32×32 images"
family = "diffusion"
output = "image"
license = "mit"
paper = "arXiv:2006.11239"
parameters = 35700000
weights = {{ repo = "someone/small", revision = "{commit}", files = ["config.json", "model.safetensors"] }}

"""

LARGE_MODEL = """\
[[model]]
id = "synthetic-{number}-{model}-large"
summary = "256×256 images"
family = "diffusion"
output = "image"
license = "mit"
weights = {{ repo = "someone/large", revision = "{commit}", files = ["config.json", "model.safetensors"] }}

[model.options.truncation]
type = "number"
default = 1.0
minimum = 0.0
description = "Truncation of the latents. Lower values give more typical, less diverse images."
"""

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import zoo_core": ["-c", "import zoo_core"],
    "zoo list, no cache": ["-m", "zoo_core", "list"],
    "zoo list": ["-m", "zoo_core", "list"],
    "zoo list --json": ["-m", "zoo_core", "list", "--json"],
    "zoo search": ["-m", "zoo_core", "search", "256×256"],
    "zoo --help": ["-m", "zoo_core", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plugins", type=int, default=100)
    parser.add_argument("--models", type=int, default=2, help="models of each plugin")
    parser.add_argument("--rounds", type=int, default=20)
    add_json(parser, "listing")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder, "site")
        for number in range(arguments.plugins):
            manifest = MANIFEST.format(number=number)
            for model in range(arguments.models):
                card = LARGE_MODEL if model % 2 else MODEL
                manifest += card.format(number=number, model=model, commit="0123456789" * 4)
            # Listing must not import a plugin. If it does, the command fails and so does the benchmark.
            write_plugin(site, f"zoo-synthetic-{number}", manifest, "raise RuntimeError('imported')\n")
        environment = {**os.environ, "PYTHONPATH": str(site), "ZOO_HOME": str(Path(folder, "home"))}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # pip writes bytecode when it installs
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        memory = dict.fromkeys(COMMANDS, 0)
        for round_number in range(arguments.rounds + 1):
            for name, command in COMMANDS.items():
                if name.endswith("no cache"):
                    shutil.rmtree(Path(folder, "home"), ignore_errors=True)
                seconds, kilobytes = measure(command, environment)
                if round_number:  # the first round fills the disk cache and writes the bytecode
                    times[name].append(seconds)
                    memory[name] = max(memory[name], kilobytes)
    installed = f"{arguments.plugins} plugins with {arguments.models} models each"
    report(times, memory, installed)
    comparison = compare(times, memory, installed)
    write_results(arguments.json, "listing", machine(), [comparison], per="run", rounds=arguments.rounds)


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, int]:
    """Run Python in a separate process; return its seconds and its peak memory in kilobytes."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return seconds, usage.ru_maxrss


def compare(times: dict[str, list[float]], memory: dict[str, int], installed: str) -> dict[str, Any]:
    """Return the comparison of our commands with ``import torch``, for ``write_results``."""
    middle = {name: median(seconds) for name, seconds in times.items()}
    measured = {
        name: {
            "seconds": middle[name],
            "time_ratio": middle[name] / middle["import torch"],
            "peak_bytes": memory[name] * 1024,
        }
        for name in COMMANDS
        if "zoo" in name
    }
    baseline = {"name": "import torch", "seconds": middle["import torch"]}
    return {"case": installed, "baseline": baseline, "zoo": measured}


def report(times: dict[str, list[float]], memory: dict[str, int], installed: str) -> None:
    empty, torch = median(times["python -c pass"]), median(times["import torch"])
    print(f"{installed}; medians of {len(times['zoo list'])} interleaved runs")
    print(f"{'':18}{'seconds':>9}{'quartiles':>18}{'× pass':>9}{'× torch':>9}{'MB':>7}")
    for name, seconds in times.items():
        low, _, high = quantiles(seconds, n=4)
        middle = median(seconds)
        print(
            f"{name:18}{middle:9.3f}{f'{low:.3f}–{high:.3f}':>18}{middle / empty:9.1f}{middle / torch:9.2f}"
            f"{memory[name] / 1000:7.0f}"
        )
    listing = median(times["zoo list"])
    print(
        f"zoo list would take {listing / empty * 0.01:.3f} s where python -c pass takes 0.01 s, and "
        f"{listing / torch * 1.3:.3f} s where import torch takes 1.3 s. "
        "The target is 0.15 s for 100 plugins and 0.5 s for 500 plugins with ten models each."
    )


if __name__ == "__main__":
    main()
