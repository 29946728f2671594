"""What a notebook shows, and the methods of a model that a notebook calls."""

from __future__ import annotations

import base64
import io
import re

import pytest
import torch
from made_samples import make_sample
from PIL import Image

import zoo_core as zoo
from zoo_core.samples.kinds import KINDS


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_shows_itself(kind: str) -> None:
    sample = make_sample(kind)
    shown = sample._repr_html_()
    png = sample._repr_png_()
    if kind == "text":
        assert png is None
        assert "Text 0" in shown
        return
    assert png is not None
    with Image.open(io.BytesIO(png)) as image:
        assert image.size == sample.image.size
    media, content = re.findall(r"src='data:([a-z0-9/]+);base64,([^']+)'", shown)[0]
    expected = {"audio": "audio/wav", "video": "video/mp4", "points": "image/gif"}  # points have kept steps
    assert media == expected.get(kind, "image/png")
    starts = {"audio/wav": b"RIFF", "video/mp4": b"\0\0\0", "image/gif": b"GIF8", "image/png": b"\x89PNG"}
    assert base64.b64decode(content).startswith(starts[media])


def test_a_list_is_a_grid_in_which_nothing_of_a_text_is_markup() -> None:
    samples = zoo.Samples([make_sample("image", 1), make_sample("text", 2)])
    hostile = zoo.Sample(samples[1].record, 0, text="<script>alert(1)</script>")
    shown = zoo.Samples([*samples, hostile])._repr_html_()
    assert shown.count("<figure") == 3
    assert "seed 2" in shown
    assert "<script>" not in shown


@pytest.fixture(scope="module")
def digits() -> zoo.Model:
    return zoo.load("stylegan2-digits", device="cpu")


def test_calling_a_model_gives_the_samples_of_generate(
    digits: zoo.Model, capsys: pytest.CaptureFixture[str]
) -> None:
    samples = digits(n=2, seed=3)
    assert isinstance(samples, zoo.Samples)
    for one, other in zip(samples, digits.generate(n=2, seed=3), strict=True):
        assert one.tensor is not None
        assert other.tensor is not None
        assert torch.equal(one.tensor, other.tensor)
    assert capsys.readouterr().err == ""  # no bar outside of a notebook and a terminal


def test_a_model_shows_its_card_its_network_and_its_latents(digits: zoo.Model) -> None:
    card = digits._repr_html_()
    assert "stylegan2-digits" in card
    assert "truncation" in card
    assert isinstance(digits.network, torch.nn.Module)
    (sample,) = digits(seed=5, label=7)
    latents = digits.encode(seed=5, label=7)
    torch.testing.assert_close(digits.synthesize(latents, seed=5, label=7)[0], sample.tensor)
    assert digits.to("cpu").card == digits.card
    for call in (lambda: digits.next_token("a"), lambda: digits.log_likelihood(["a"])):
        with pytest.raises(zoo.OptionError, match="does not have the capability"):
            call()


def test_a_language_model_predicts_and_scores() -> None:
    model = zoo.load("gpt-kjv", device="cpu")
    prediction = model.next_token("In the beginning God created the")
    assert prediction.log_probabilities.exp().sum().item() == pytest.approx(1, abs=1e-3)
    likely, unlikely = model.log_likelihood(["In the beginning", "qzx vvk jjw wq"]).nats.tolist()
    assert likely > unlikely
