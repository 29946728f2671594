"""Measure every solver: its order on a known flow, and the Fréchet distance of ddpm-digits by network calls.

    python -m tools.diffusion.solvers [--calls 5,10] [-n 500]     # half an hour on one core
    python -m tools.diffusion.solvers --plot                            # draw the committed figures again

Stopped, it goes on where it was: samples are kept in out/solvers. It writes
docs/images/diffusion/solvers.json, and two plots beside it.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from zoo_ddpm.convergence import CONFIG, SOLVERS, BestNetwork, flow_error, order
from zoo_ddpm.sampling import plan_sampling

from tools.mnist import fetch
from zoo_core import Noise

ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs/images/diffusion"
COUNTS = (5, 10, 20, 40, 80, 160)
"""Numbers of steps on the known flow."""
SAMPLERS = ("ddpm", *SOLVERS)


def main() -> None:
    """Measure if asked to, and draw both plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", default="5,10", help="network calls a sample (default: 5,10)")
    parser.add_argument("-n", type=int, default=500, help="samples of each point (default: 500)")
    parser.add_argument("--plot", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    results = FIGURES / "solvers.json"
    if not arguments.plot:
        fetch(ROOT / "data/mnist")
        calls = [int(text) for text in arguments.calls.split(",")]
        found = {
            "flow": {name: flow_figures(name) for name in SOLVERS},
            "digits": {name: digits_figures(name, calls, arguments.n) for name in SAMPLERS},
            "samples": arguments.n,
        }
        FIGURES.mkdir(parents=True, exist_ok=True)
        results.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
    found = json.loads(results.read_text("utf-8"))
    plot_orders(found["flow"]).savefig(FIGURES / "solvers-order.png", dpi=110)
    plot_distances(found["digits"]).savefig(FIGURES / "solvers-frechet.png", dpi=110)


def flow_figures(name: str) -> dict[str, Any]:
    """Return a solver's order, and its errors by network calls."""
    errors, calls = zip(*(flow_error(name, n) for n in COUNTS), strict=True)
    return {"order": round(order(name, 80), 2), "calls": calls, "errors": [float(f"{e:.2g}") for e in errors]}


def steps_of(name: str, calls: int) -> int:
    """Return the most steps of a sampler that call the network at most ``calls`` times."""
    return max(n for n in range(1, calls + 1) if calls_of(name, n) <= calls)


def calls_of(name: str, steps: int) -> int:
    """Return how often a sampler calls the network."""
    network, plan = BestNetwork(), plan_sampling(CONFIG, name, steps)
    for _ in plan.run(network, torch.ones(1, 1, 1, 1, dtype=torch.float64), Noise([0])):
        pass
    return network.calls


def digits_figures(name: str, calls: Sequence[int], n: int) -> list[dict[str, Any]]:
    """Evaluate ddpm-digits with a sampler, without guidance; return a point for each number of calls."""
    steps = sorted({steps_of(name, most) for most in calls})
    folder = ROOT / "out/solvers" / name
    options = {"label": "0-9", "guidance_scale": "1", "sampler": name}
    settings = [word for key, value in options.items() for word in ("--set", f"{key}={value}")]
    subprocess.run(
        [
            *(sys.executable, "-m", "zoo_core", "eval", "ddpm-digits", "--data", ROOT / "data/mnist"),
            *("--extractor", "digits", *settings, "--sweep", f"steps={','.join(map(str, steps))}"),
            *("-n", str(n), "--likelihood", "0", "--device", "cpu", "-q", "-o", folder),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    report = json.loads((folder / "report.json").read_text("utf-8"))
    return [point(name, row) for row in report["rows"] if row["model"]]


def point(name: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of one row of a report."""
    steps, frechet = row["options"]["steps"], row["figures"]["Fréchet"]
    return {
        "steps": steps,
        "calls": calls_of(name, steps),
        "frechet": [round(frechet[key], 2) for key in ("value", "low", "high")],
        "read_as_label": row["figures"]["label accuracy"]["value"],
    }


def plot_orders(found: Mapping[str, Any]) -> Figure:
    """Draw errors by network calls."""
    figure, axes = _plot()
    for names, row in _grouped(found):
        label = f"{row['order']:.1f}  {names}"
        axes.plot(row["calls"], row["errors"], label=label, **_style(names))
    axes.set(xscale="log", yscale="log", xlabel="network calls", ylabel="error of x at σ = 1/2")
    axes.set_title("A known flow: error by calls, and the order from 80 to 160 steps")
    axes.legend(bbox_to_anchor=(1.02, 1), loc="upper left", frameon=False)
    return figure


def plot_distances(found: Mapping[str, Any]) -> Figure:
    """Draw the Fréchet distance by network calls."""
    figure, axes = _plot()
    for names, points in _grouped(found):
        calls, values = [p["calls"] for p in points], [p["frechet"][0] for p in points]
        axes.plot(calls, values, label=names, **_style(names))
    axes.set(xscale="log", yscale="log", xlabel="network calls", ylabel="Fréchet distance")
    axes.set_title("ddpm-digits without guidance: distance to MNIST's training set")
    for axis, ticks in ((axes.xaxis, (5, 10)), (axes.yaxis, (6, 8, 10, 15, 20, 30, 40))):
        axis.set_ticks(ticks, [str(tick) for tick in ticks])
        axis.set_minor_formatter(matplotlib.ticker.NullFormatter())
    axes.legend(bbox_to_anchor=(1.02, 1), loc="upper left", frameon=False)
    return figure


def _grouped(found: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the names of solvers that did the same, and what they did."""
    groups: dict[str, list[str]] = {}
    for name, row in found.items():
        groups.setdefault(json.dumps(row), []).append(name)
    for row, names in groups.items():
        yield ", ".join(names), json.loads(row)


def _plot() -> tuple[Figure, Axes]:
    figure = Figure(figsize=(8.5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.grid(alpha=0.3)
    return figure, axes


def _style(names: str) -> dict[str, Any]:
    place = SAMPLERS.index(names.split(", ")[0])
    colors = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    return {"color": colors[place % 8], "linestyle": "-" if place < 8 else "--", "marker": "o", "ms": 3}


if __name__ == "__main__":
    main()
