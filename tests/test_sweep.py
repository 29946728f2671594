"""``zoo train --sweep``: a model per combination of values, compared, and the law of their losses."""

from __future__ import annotations

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image
from zoo_train.plot import log_ticks
from zoo_train.scaling import fit_scaling_law

import zoo_core as zoo
from zoo_core.cli import cli

SMALL = ["--vocab", "257", "--context", "8", "--layers", "1", "--heads", "1", "--dropout", "0"]
RUN = [*SMALL, "--batch-size", "4", "--sample-every", "0", "--checkpoint-every", "0"]


@pytest.fixture
def train(tmp_path):
    """Train on a small text, and return the result of the command and the folder."""
    text = tmp_path / "text.txt"
    text.write_text("the cat sits on the mat, and the dog beside it. " * 20, encoding="utf-8")

    def run(*words: str):
        folder = tmp_path / "sweep"
        command = ["train", "gpt", "--data", str(text), "-o", str(folder), *RUN, *words]
        return CliRunner().invoke(cli, [word.replace("TEXT", str(text)) for word in command]), folder

    return run


@pytest.mark.slow
def test_each_combination_is_a_model_and_the_losses_follow_a_law(train):
    words = ["--held-out", "TEXT", "--sweep", "width=2,4,8", "--sweep", "data=64,320"]
    done, folder = train(*words)
    assert done.exit_code == 0, done.output
    content = json.loads((folder / "sweep.json").read_text())
    assert [run["settings"] for run in content["runs"]] == [
        {"width": width, "data": tokens} for width in (2, 4, 8) for tokens in (64, 320)
    ]
    assert {run["tokens"] for run in content["runs"]} == {64, 320}
    assert len({run["parameters"] for run in content["runs"]}) == 3
    assert content["law"]["formula"] in done.stderr
    last = content["runs"][-1]
    loaded = zoo.load(folder / last["folder"], device="cpu")
    score = loaded.log_likelihood([(folder.parent / "text.txt").read_text()])
    assert last["loss"] == pytest.approx(-float(score.nats[0] / score.size[0]), rel=1e-6)
    assert Image.open(folder / "sweep.png").size == (1000, 1200)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--sweep", "width=8"], "need each other"),
        (["--held-out", "TEXT"], "need each other"),
        (["--held-out", "TEXT", "--sweep", "width"], "NAME=VALUE"),
        (["--held-out", "TEXT", "--sweep", "witdh=8"], "no option 'witdh'"),
        (["--held-out", "TEXT", "--sweep", "weights=float16"], "needs a numeric option"),
        (["--held-out", "TEXT", "--sweep", "width=wide"], "width"),
        (["--held-out", "TEXT", "--sweep", "data=much"], "not a number of tokens"),
        (["--held-out", "TEXT", "--sweep", "data=3"], "Give at least data=32"),
        (["--held-out", "TEXT", "--sweep", "width=8", "--sweep", "width=9"], "the same option"),
        (["--held-out", "nowhere.txt", "--sweep", "width=8"], "nowhere.txt cannot be read"),
    ],
)
def test_a_sweep_that_cannot_be_made_is_refused_before_anything_is_trained(train, words, message):
    done, folder = train(*words)
    assert done.exit_code != 0
    error = done.exception
    assert message in (f"{error.message} {error.remedy}" if isinstance(error, zoo.ZooError) else done.stderr)
    assert not folder.exists()


def test_a_law_is_found_again():
    n, d = (grid.ravel() for grid in np.meshgrid([1e4, 3e4, 1e5, 3e5], [1e5, 3e5, 1e6, 3e6]))
    loss = 1.7 + 90 / n**0.5 + 400 / d**0.45
    law = fit_scaling_law(n.tolist(), d.tolist(), loss.tolist())
    assert law.error < 0.004
    assert (law.e, law.alpha, law.beta) == pytest.approx((1.7, 0.5, 0.45), rel=0.12)
    assert law(1e6, 1e7) == pytest.approx(1.7 + 90 / 1e6**0.5 + 400 / 1e7**0.45, rel=0.02)


def test_a_quantity_with_two_values_has_no_term():
    law = fit_scaling_law([10, 100, 1000] * 2, [5, 5, 5, 9, 9, 9], [3.0, 2.0, 1.7] * 2)
    assert law.b == 0
    assert "D" not in str(law).removeprefix("L(N, D)")
    assert fit_scaling_law([10, 100], [5, 9], [3.0, 2.0]) is None


def test_a_narrow_logarithmic_axis_has_round_ticks():
    assert log_ticks(5.1, 5.7) == pytest.approx([5.2, 5.4, 5.6])
    assert log_ticks(1, 100) == [1, 2, 5, 10, 20, 50, 100]
