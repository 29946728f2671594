"""The line of a training on a terminal: a bar, whole figures and the time left, at any width."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console
from zoo_train.report import Report

METRICS = {
    "step": 2,
    "generator loss": 2.905,
    "discriminator loss": 1.36,
    "D(x)": 0.4711,
    "D(G(z))": 0.5289,
    "lr": 1.2e-06,
}


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_line_keeps_bar_and_time_left_and_cuts_no_figure(
    width: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    screen = io.StringIO()
    monkeypatch.setattr(
        "zoo_train.report.Console", lambda stderr: Console(file=screen, width=width, force_terminal=True)
    )
    with Report(7000, 0) as report:
        report.step(2, METRICS)
    line = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", screen.getvalue()).splitlines()[-1].strip("\r")
    assert re.fullmatch(r"training [━╸╺]{10,40} +2/7000 generator loss 2\.905.* ([-0-9]+:){2}[-0-9]+ *", line)
    assert "…" not in line
    assert ("D(G(z)) 0.5289" in line) == (width == 120)
