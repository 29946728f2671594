"""zoo diffuse: the forward process beside the model's own way back."""

from __future__ import annotations

import math

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from zoo_ddpm.commands import diffuse
from zoo_ddpm.forward_process import diffused

import zoo_core as zoo
from zoo_core import InputImage, ZooError, read_record

IMAGE = Image.linear_gradient("L").resize((28, 28))


def test_the_rows_are_q_of_the_image_and_the_models_own_sample():
    model = zoo.load("consistency-digits", device="cpu")
    with torch.inference_mode():
        shown = diffused(model.generator.model, InputImage(IMAGE), 7, 5, columns=8, steps=49)

    assert shown.times == [0, 249, 499, 749, 999]
    rows = dict(shown.rows)
    x_0 = InputImage(IMAGE).fitted((28, 28)).pixels(channels=1)
    noise = zoo.Noise([5])
    noise.uniform(1)  # the label's
    epsilon = noise.normal(1, 28, 28)
    a = model.generator.scheduler.alphas_bar()[499].item()
    expected = math.sqrt(a) * x_0 + math.sqrt(1 - a) * epsilon
    assert torch.allclose(rows["q(x_t | x_0)"][2:3], expected, atol=1e-5)
    (sample,) = model.generate(seed=5, label=7)
    assert torch.allclose(rows["the way back"][0].clamp(-1, 1), sample.tensor, atol=1e-4)


def test_the_command_writes_an_image_with_its_record_and_refuses_a_taken_name(tmp_path):
    pytest.importorskip("matplotlib")
    given, output = tmp_path / "given.png", tmp_path / "out.png"
    IMAGE.save(given)
    words = ["consistency-digits", str(given), "--label", "7", "-o", str(output)]

    assert CliRunner().invoke(diffuse, words, catch_exceptions=False).exit_code == 0

    assert Image.open(output).width > 500
    record = read_record(output)
    assert (record.model, record.metadata["command"][:2]) == (
        "consistency-digits",
        ["diffuse", "consistency-digits"],
    )
    with pytest.raises(ZooError, match="exists"):
        CliRunner().invoke(diffuse, words, catch_exceptions=False)
