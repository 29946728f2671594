"""What it costs to look around: ``import zoo_core``, ``zoo list``, ``zoo search`` with many plugins.

Every command runs in a process of its own, all of them in turn, many times over; the median of each is
printed with its ratio to an empty interpreter and to importing torch, which do not depend on this project,
and with the most memory it took. ``anew`` is the first time, when no manifest has been read before.

    python -m benchmarks.listing [--plugins 100] [--models 2] [--rounds 20]
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
description = "Network evaluations: more is slower and finer."

[options.sampler]
type = "string"
default = "ddim"
enum = ["ddpm", "ddim", "dpmpp-2m"]
description = "How noise is turned into data."

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
description = "Pull latents toward the mean: lower is safer and less varied."
"""

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "import torch": ["-c", "import torch"],
    "import zoo_core": ["-c", "import zoo_core"],
    "zoo list, anew": ["-m", "zoo_core", "list"],
    "zoo list": ["-m", "zoo_core", "list"],
    "zoo list --json": ["-m", "zoo_core", "list", "--json"],
    "zoo search": ["-m", "zoo_core", "search", "256×256"],
    "zoo --help": ["-m", "zoo_core", "--help"],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plugins", type=int, default=100)
    parser.add_argument("--models", type=int, default=2, help="of each plugin")
    parser.add_argument("--rounds", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder, "site")
        for number in range(arguments.plugins):
            manifest = MANIFEST.format(number=number)
            for model in range(arguments.models):
                card = LARGE_MODEL if model % 2 else MODEL
                manifest += card.format(number=number, model=model, commit="0123456789" * 4)
            # Never imported when listing; if it is, the listing fails and so does the benchmark.
            write_plugin(site, f"zoo-synthetic-{number}", manifest, "raise RuntimeError('imported')\n")
        environment = {**os.environ, "PYTHONPATH": str(site), "ZOO_HOME": str(Path(folder, "home"))}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)  # pip writes it when it installs
        times: dict[str, list[float]] = {name: [] for name in COMMANDS}
        memory = dict.fromkeys(COMMANDS, 0)
        for round_number in range(arguments.rounds + 1):
            for name, command in COMMANDS.items():
                if name.endswith("anew"):
                    shutil.rmtree(Path(folder, "home"), ignore_errors=True)
                seconds, kilobytes = measure(command, environment)
                if round_number:  # the first round fills the disk cache and writes the bytecode
                    times[name].append(seconds)
                    memory[name] = max(memory[name], kilobytes)
    report(times, memory, f"{arguments.plugins} plugins with {arguments.models} models each")


def measure(command: list[str], environment: dict[str, str]) -> tuple[float, int]:
    """Seconds, and the most kilobytes of memory, that a process of Python takes."""
    start = time.perf_counter()
    child = subprocess.Popen([sys.executable, *command], env=environment, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise subprocess.CalledProcessError(child.returncode, command)
    return seconds, usage.ru_maxrss


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
        f"zoo list would take {listing / empty * 0.01:.3f} s where python -c pass takes 0.01 s, "
        f"{listing / torch * 1.3:.3f} s where import torch takes 1.3 s; the target is 0.15 s for a "
        "hundred plugins and 0.5 s for 500 with ten models each"
    )


if __name__ == "__main__":
    main()
