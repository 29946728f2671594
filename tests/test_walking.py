"""Walks from seed to seed: the path, and ``zoo interpolate`` and ``zoo mix`` over any model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

import zoo_core as zoo
from zoo_core.cli import cli
from zoo_core.running.walking import interpolate, latent_walk


def test_slerp_keeps_the_length_and_lerp_does_not() -> None:
    a, b = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    assert torch.allclose(interpolate(a, b, 0.5, spherical=True), torch.full((1, 2), 0.5**0.5))
    assert torch.allclose(interpolate(a, b, 0.5, spherical=False), torch.full((1, 2), 0.5))
    for t, end in ((0.0, a), (1.0, b)):
        assert torch.allclose(interpolate(a, b, t, spherical=True), end, atol=1e-6)
    assert torch.allclose(interpolate(a, a * 3, 0.5, spherical=True), a * 2)


def test_a_latent_walk_passes_its_anchors_evenly() -> None:
    anchors = torch.tensor([[0.0], [1.0], [3.0]])
    assert latent_walk(anchors, 5, spherical=False, loop=False).flatten().tolist() == [0, 0.5, 1, 2, 3]
    assert latent_walk(anchors, 3, spherical=False, loop=True).flatten().tolist() == [0, 1, 3]
    assert latent_walk(anchors, 6, spherical=False, loop=True).flatten().tolist() == [0, 0.5, 1, 2, 3, 1.5]


def test_a_walk_through_noise_begins_and_ends_at_the_seeds(tmp_path: Path) -> None:
    seeds = {
        name: next(zoo.load("ddpm-digits").generate(seed=seed, label=7, steps=2)).image
        for name, seed in (("first", 3), ("last", 9))
    }
    words = [
        "interpolate",
        "ddpm-digits",
        "--seeds",
        "3,9",
        "--frames",
        "3",
        "--label",
        "7",
        "--steps",
        "2",
        "-o",
    ]
    assert CliRunner().invoke(cli, [*words, str(tmp_path / "walk")]).exception is None
    frames = [np.array(Image.open(path)) for path in sorted((tmp_path / "walk").iterdir())]
    assert np.abs(frames[0].astype(int) - np.array(seeds["first"])).max() <= 1
    assert np.abs(frames[2].astype(int) - np.array(seeds["last"])).max() <= 1
    assert np.abs(frames[1].astype(int) - frames[0]).max() > 20


@pytest.mark.parametrize(
    ("words", "problem", "remedy"),
    [
        ("score gigagan-tabletop x.png", "gigagan-tabletop cannot score data.", "--capability score"),
        ("next ddpm-digits x", "ddpm-digits cannot predict the next token.", "--capability next-token"),
        ("mix ddpm-digits -o x.png", "ddpm-digits cannot mix latents.", "--capability latents"),
        ("interpolate ddpm-digits --seeds 1,2 --space w -o x.gif", "has no space w", "--space z"),
        ("interpolate ddpm-digits --seeds 1,2 -o x.gif", "within one class", "Add --label"),
        ("interpolate gpt-kjv --seeds 1,2 -o x.gif", "writes texts", "images"),
    ],
)
def test_a_model_without_the_capability_is_refused_by_name(words: str, problem: str, remedy: str) -> None:
    error = CliRunner().invoke(cli, words.split()).exception
    assert isinstance(error, zoo.ZooError)
    assert problem in error.message
    assert remedy in error.remedy


def test_without_a_capable_plugin_the_command_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    card = replace(zoo.resolve("ddpm-digits"), capabilities=())
    monkeypatch.setattr("zoo_core.cli.model_command.card_of", lambda name: card)
    monkeypatch.setattr("zoo_core.catalog.Catalog.models", {"ddpm-digits": card})
    error = CliRunner().invoke(cli, ["score", "ddpm-digits", "x.png"]).exception
    assert isinstance(error, zoo.ZooError)
    assert error.message == "ddpm-digits cannot score data, and no installed model can."
    assert error.remedy == "Find one that can: zoo list --all --capability score"
