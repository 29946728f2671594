"""Score test digits by ddpm-digits: the probability-flow ODE beside the variational bound.

    python -m tools.diffusion.likelihood     # five minutes on one core

It writes docs/images/diffusion/likelihood.json, and likelihood.png of it: the likelihood of each of the first
16 test digits in tests/data with its standard error, and the mean of the bound's terms by timestep.
"""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from PIL import Image

import zoo_core as zoo
from tools.diffusion.editing import SIDE, cut
from tools.diffusion.solvers import FIGURES

COUNT = 16
BITS = SIDE * SIDE * math.log(2)


def main() -> None:
    """Score, draw, and write both."""
    with tempfile.TemporaryDirectory() as name:
        files = cut(Path(name))[:COUNT]
        digits = torch.stack([torch.from_numpy(np.array(Image.open(file)))[None] for file in files])
    model = zoo.load("ddpm-digits", device="cpu")
    bound = model.log_likelihood(digits)
    ode = model.log_likelihood(digits, ode=True)
    assert bound.terms is not None
    assert ode.error is not None
    found = {
        "unit": "bits per dimension",
        "bound": _rounded(-bound.nats),
        "ode": _rounded(-ode.nats),
        "ode_error": _rounded(ode.error),
        "terms": _rounded(bound.terms.mean(0)),
    }
    FIGURES.mkdir(parents=True, exist_ok=True)
    (FIGURES / "likelihood.json").write_text(json.dumps(found) + "\n", "utf-8")
    draw(found).savefig(FIGURES / "likelihood.png", dpi=100)
    means = {name: round(float(np.mean(found[name])), 4) for name in ("bound", "ode", "ode_error")}
    print(json.dumps(means))


def draw(found: dict[str, list[float]]) -> Figure:
    """Draw each digit's likelihood, and the terms of the bound."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    digits, terms = figure.subplots(1, 2)
    order = np.argsort(found["bound"])
    bound, ode, error = (np.array(found[name])[order] for name in ("bound", "ode", "ode_error"))
    digits.plot(bound, "o", label="variational bound")
    digits.errorbar(range(len(ode)), ode, 2 * error, fmt=".", capsize=3, label="ODE, ± 2 standard errors")
    digits.set(xlabel="test digits, by their bound", ylabel="bits per dimension")
    digits.legend()
    by_time = np.array(found["terms"][:0:-1])
    terms.semilogy(by_time)
    terms.set(xlabel="timestep t", title=f"Terms of the bound, {by_time.sum():.3f} in all")
    return figure


def _rounded(nats: torch.Tensor) -> list[float]:
    return [float(f"{value:.4g}") for value in (nats / BITS).tolist()]


if __name__ == "__main__":
    main()
