"""Measure every solver: its order on a known flow, and the Fréchet distance of ddpm-digits by network calls.

    python -m tools.diffusion.solvers [--calls 5,10,20,40] [--solvers heun,unipc] [-n 500]
    python -m tools.diffusion.solvers --plot    # draw the committed figures again

Stopped, it goes on where it was: samples are kept in out/solvers. It writes
docs/images/diffusion/solvers.json, which keeps points of other numbers of calls, and two plots beside it.
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

import zoo_core as zoo
from tools.mnist import fetch
from zoo_core import Noise

MODEL = "ddpm-digits"
ROOT = Path(__file__).resolve().parents[2]
FIGURES = ROOT / "docs/images/diffusion"
COUNTS = (5, 10, 20, 40, 80, 160)
"""Numbers of steps on the known flow."""
SAMPLERS = ("ddpm", *SOLVERS)
ADAPTIVE = "dpm-adaptive"
EVALUATED = (*SAMPLERS, ADAPTIVE)
TOLERANCES = (0.1,)
"""Of the adaptive solver, in place of numbers of steps."""
COUNTED = 20
"""Samples over which its calls are averaged."""


def main() -> None:
    """Measure if asked to, and draw both plots."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", default="5,10,20,40", help="network calls a sample (default: %(default)s)")
    parser.add_argument("--solvers", default=",".join(EVALUATED), help="those to evaluate (default: all)")
    parser.add_argument("-n", type=int, default=500, help="samples of each point (default: 500)")
    parser.add_argument("--plot", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    results = FIGURES / "solvers.json"
    found: dict[str, Any] = json.loads(results.read_text("utf-8")) if results.exists() else {}
    if not arguments.plot:
        fetch(ROOT / "data/mnist")
        calls = [int(text) for text in arguments.calls.split(",")]
        found["flow"] = {name: flow_figures(name) for name in SOLVERS}
        before = found.get("digits", {}) if found.get("samples") == arguments.n else {}
        found |= {"digits": before, "samples": arguments.n}
        FIGURES.mkdir(parents=True, exist_ok=True)
        for name in arguments.solvers.split(","):
            measured = digits_figures(name, calls, arguments.n)
            points = {each["calls"]: each for each in [*before.get(name, []), *measured]}
            before[name] = [points[count] for count in sorted(points)]
            results.write_text(json.dumps(found, indent=1) + "\n", "utf-8")
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
    if name == ADAPTIVE:
        swept, values = "tolerance", list(TOLERANCES)
    else:
        swept, values = "steps", sorted({steps_of(name, most) for most in calls})
    folder = ROOT / "out/solvers" / name
    settings = [word for key, value in options_of(name).items() for word in ("--set", f"{key}={value}")]
    subprocess.run(
        [
            *(sys.executable, "-m", "zoo_core", "eval", MODEL, "--data", ROOT / "data/mnist"),
            *("--extractor", "digits", *settings, "--sweep", f"{swept}={','.join(map(str, values))}"),
            *("-n", str(n), "--likelihood", "0", "--device", "cpu", "-q", "-o", folder),
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )
    report = json.loads((folder / "report.json").read_text("utf-8"))
    return [point(name, swept, row) for row in report["rows"] if row["model"]]


def options_of(name: str) -> dict[str, Any]:
    """Return the options of a sampler's samples."""
    return {"label": "0-9", "guidance_scale": 1, "sampler": name}


def point(name: str, swept: str, row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the figures of one row of a report."""
    value, frechet = row["options"][swept], row["figures"]["Fréchet"]
    return {
        swept: value,
        "calls": adaptive_calls(value) if swept == "tolerance" else calls_of(name, value),
        "frechet": [round(frechet[key], 2) for key in ("value", "low", "high")],
        "read_as_label": row["figures"]["label accuracy"]["value"],
    }


def adaptive_calls(tolerance: float) -> float:
    """Return how often the adaptive solver calls ddpm-digits for a sample, on average."""
    model = zoo.load(MODEL, device="cpu")
    conditional, calls = model.generator.model, 0
    network = conditional.network

    def counted(*given: Any) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return network(*given)

    conditional.network = counted
    options = options_of(ADAPTIVE) | {"tolerance": tolerance, "label": list(range(10))}
    list(model.generate(n=COUNTED, seed=0, **options))
    return calls / COUNTED


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
    for axis, ticks in ((axes.xaxis, (5, 10, 20, 30)), (axes.yaxis, (6, 8, 10, 15, 20, 30, 40))):
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
    place = EVALUATED.index(names.split(", ")[0])
    colors = matplotlib.colormaps["tab10"].colors  # type: ignore[attr-defined]
    if names == ADAPTIVE:
        return {"color": "black", "linestyle": ":", "marker": "s", "ms": 4}
    return {"color": colors[place % 8], "linestyle": "-" if place < 8 else "--", "marker": "o", "ms": 3}


if __name__ == "__main__":
    main()
