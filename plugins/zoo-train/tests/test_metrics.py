import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from zoo_train.metrics import MetricsLog
from zoo_train.plot import Line, Panel, draw_plot, log_ticks, ticks


def loss(value: float) -> dict[str, torch.Tensor]:
    return {"loss": torch.tensor(value)}


def test_a_line_is_the_mean_over_its_window(tmp_path: Path) -> None:
    curve = MetricsLog(tmp_path, every=2)

    assert curve.add(1, loss(1.0), rate=0.1) is None
    line = curve.add(2, loss(3.0), rate=0.2)

    assert line == {"step": 2, "loss": 2.0, "lr": 0.2}
    assert json.loads((tmp_path / "curve.jsonl").read_text()) == line


def test_a_figure_that_not_every_step_has_is_averaged_over_those_that_do(tmp_path: Path) -> None:
    curve = MetricsLog(tmp_path, every=2)

    curve.add(1, loss(1.0) | {"penalty": torch.tensor(8.0)}, rate=0.1)
    line = curve.add(2, loss(3.0), rate=0.1)

    assert line == {"step": 2, "loss": 2.0, "penalty": 8.0, "lr": 0.1}


def test_going_back_drops_later_lines_and_keeps_the_open_window(tmp_path: Path) -> None:
    first = MetricsLog(tmp_path, every=2)
    for step in range(1, 4):
        first.add(step, loss(step), rate=0.1)
    state = first.state()
    for step in range(4, 9):
        first.add(step, loss(99.0), rate=0.1)

    again = MetricsLog(tmp_path, every=2)
    again.restore(3, state)
    again.add(4, loss(4.0), rate=0.1)

    assert [(line["step"], line["loss"]) for line in again.lines()] == [(2, 1.5), (4, 3.5)]


def test_half_a_line_left_by_a_kill_is_dropped(tmp_path: Path) -> None:
    (tmp_path / "curve.jsonl").write_text('{"step": 2, "loss": 1.0, "lr": 0.1}\n{"step": 4, "lo')
    curve = MetricsLog(tmp_path, every=2)

    curve.restore(4, [])

    assert [line["step"] for line in curve.lines()] == [2]


def test_the_image_has_axes_and_the_line(tmp_path: Path) -> None:
    curve = MetricsLog(tmp_path, every=1)
    for step in range(1, 50):
        curve.add(step, loss(1.0 / step), rate=0.1)

    curve.draw()

    pixels = np.asarray(Image.open(tmp_path / "curve.png").convert("RGB"))
    assert pixels.shape == (600, 1000, 3)
    assert (pixels == (0x1F, 0x5F, 0xA8)).all(axis=2).sum() > 500
    assert (pixels == (0x33, 0x33, 0x33)).all(axis=2).sum() > 500


@pytest.mark.parametrize("points", [[], [(1.0, 0.5)], [(1.0, -0.5), (2.0, 0.0)], [(1.0, 0.0), (2.0, 0.0)]])
def test_a_plot_of_little_or_of_no_positive_values_is_drawn(
    tmp_path: Path, points: list[tuple[float, float]]
) -> None:
    draw_plot(tmp_path / "plot.png", "step", [Panel([Line("loss", points, points)])])

    assert Image.open(tmp_path / "plot.png").size == (1000, 600)


def test_ticks_are_round_numbers_within_the_axis() -> None:
    assert ticks(0, 1000, 5) == [0, 200, 400, 600, 800, 1000]
    assert ticks(-0.11, 0.12, 4) == pytest.approx([-0.1, 0.0, 0.1])
    assert log_ticks(0.04, 1.5) == pytest.approx([0.05, 0.1, 0.2, 0.5, 1.0])
    assert log_ticks(1e-6, 1e3) == pytest.approx([10.0**d for d in range(-6, 4)])
