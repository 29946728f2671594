"""The plot of ``zoo score --plot``: the terms of a diffusion model's bound by timestep."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

from zoo_core.errors import OptionError, OutputError, ZooError
from zoo_core.files import write_atomically

if TYPE_CHECKING:
    import torch


def check_plot(path: Path, ode: bool) -> None:
    """Refuse a plot that cannot be drawn, before anything is computed; ZooError."""
    if ode:
        raise OptionError("--plot is of the bound, and --ode computes none.", "Leave out one of them.")
    if find_spec("matplotlib") is None:
        raise ZooError("--plot needs matplotlib, which is not there.", "Install it: pip install matplotlib")
    if path.suffix != ".png":
        raise OutputError(f"{path} is not a .png file.", "Give a name that ends in .png.")
    if path.exists():
        raise OutputError(f"{path} exists.", "Give another name, or remove it.")


def plot_terms(terms: Mapping[str, torch.Tensor], path: Path) -> None:
    """Draw the terms (T,) of each file's bound in bits per dimension, and their sum from timestep 0 on."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    terms_of, sum_of = figure.subplots(1, 2)
    for file, by_time in terms.items():
        name = Path(file).name.replace("$", r"\$")
        terms_of.semilogy(by_time.clamp(min=1e-9), linewidth=1)
        sum_of.plot(by_time.cumsum(0), label=f" {name}: {float(by_time.sum()):.3f}")
    terms_of.set(xlabel="timestep t", ylabel="bits per dimension", title="Terms of the bound")
    sum_of.set(xlabel="timestep t", title="Their sum, from t = 0 on", ylim=(0, None))
    sum_of.legend(loc="lower right")
    data = BytesIO()
    figure.savefig(data, format="png", dpi=100)
    write_atomically(path, data.getvalue())
