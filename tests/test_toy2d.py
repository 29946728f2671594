"""examples/zoo-toy2d: a flow, a GAN and a diffusion model of points, as a course uses them."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from environments import ROOT, example_site
from torch import Tensor

import zoo_core as zoo
from zoo_core.samples import compare, read_record

MODELS = ("toy2d-flow", "toy2d-gan", "toy2d-diffusion")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return example_site(tmp_path_factory.mktemp("site"), "zoo-toy2d")


@pytest.fixture(scope="module")
def toy2d(site: Path) -> Iterator[Any]:
    """The plugin's modules, installed for the tests of this module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(site))
        from zoo_toy2d import data, diffusion, gan, training

        yield SimpleNamespace(data=data, diffusion=diffusion, gan=gan, training=training)
    for name in [name for name in sys.modules if name.partition(".")[0] == "zoo_toy2d"]:
        del sys.modules[name]


def modes(points: Tensor) -> tuple[float, int]:
    """The share of points within 3 σ of one of the eight Gaussians, and how many of these have 3 % each."""
    angle = torch.arange(8) * math.pi / 4
    distance, nearest = torch.cdist(points, 2 * torch.stack([angle.cos(), angle.sin()], 1)).min(1)
    near = distance < 0.3
    shares = torch.bincount(nearest[near], minlength=8) / len(points)
    return near.double().mean().item(), int((shares > 0.03).sum())


@pytest.mark.parametrize(
    ("model", "near", "found"), [(MODELS[0], 0.7, 8), (MODELS[1], 0.5, 7), (MODELS[2], 0.8, 8)]
)
def test_the_built_in_models_have_learned_the_ring(toy2d: Any, model: str, near: float, found: int) -> None:
    (sample,) = zoo.load(model).generate(seed=0, count=1000)
    assert sample.tensor is not None
    share, count = modes(sample.tensor)
    assert (share > near, count >= found) == (True, True), (share, count)


@pytest.mark.parametrize("model", MODELS)
def test_a_sample_is_saved_with_its_film_and_replayed(toy2d: Any, model: str, tmp_path: Path) -> None:
    loaded = zoo.load(model)
    (sample,) = loaded.generate(seed=3, count=50, keep_frames=True)
    assert len(sample.frames) > 10
    path = sample.save(tmp_path / "x.npz")
    then = read_record(path)
    assert then.options["count"] == 50
    (again,) = loaded.generate(seed=then.seed, count=50)
    for suffix in (".npz", ".csv", ".png", ".gif"):
        assert compare(sample.save(tmp_path / f"x{suffix}"), again).verdict == "identical"


def test_the_density_of_the_flow_is_one_and_follows_from_the_jacobian(toy2d: Any) -> None:
    network = zoo.load("toy2d-flow").generator.network  # type: ignore[attr-defined]
    axis = torch.linspace(-4, 4, 401)
    with torch.no_grad():
        total = network.log_density(torch.cartesian_prod(axis, axis)).exp().sum() * (axis[1] - axis[0]) ** 2
    assert total.item() == pytest.approx(1, abs=0.02)
    z = torch.tensor([0.3, -0.8], dtype=torch.float64)
    network = network.double()
    *_, x = network(z)
    jacobian: Any = torch.autograd.functional.jacobian(lambda z: list(network(z))[-1], z)
    expected = -z.square().sum() / 2 - math.log(2 * math.pi) - jacobian.det().abs().log()
    torch.testing.assert_close(network.log_density(x), expected)


def test_ddpm_steps_are_those_of_diffusers(toy2d: Any) -> None:
    torch.manual_seed(0)
    model = toy2d.diffusion.Diffusion(toy2d.diffusion.Config(timesteps=20))
    scheduler = DDPMScheduler(
        20,
        trained_betas=model.betas()[1:].numpy(),
        variance_type="fixed_large",
        clip_sample=False,
    )
    x = torch.randn(7, 2)
    expected, ours, theirs = x, torch.Generator().manual_seed(1), torch.Generator().manual_seed(1)
    with torch.no_grad():
        steps = list(model.sample(x, lambda: torch.randn(7, 2, generator=ours)))
        for t, (x_t, x_0) in zip(range(19, -1, -1), steps, strict=True):
            step = scheduler.step(model(expected, torch.full((7,), t + 1)), t, expected, generator=theirs)
            torch.testing.assert_close(x_0, step.pred_original_sample, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(x_t, expected := step.prev_sample, rtol=1e-4, atol=1e-5)
        noise = torch.randn(7, 2)
        times = torch.arange(7)
        torch.testing.assert_close(
            model.diffuse(x, times + 1, noise), scheduler.add_noise(x, noise, times), rtol=1e-5, atol=1e-6
        )


@pytest.mark.parametrize("family", ["flow", "gan", "diffusion"])
def test_a_model_is_trained_saved_and_run(toy2d: Any, family: str, tmp_path: Path) -> None:
    seen: list[int] = []
    state = torch.get_rng_state()
    trained = toy2d.training.train(family, "moons", steps=20, on_step=lambda step, losses: seen.append(step))
    again = toy2d.training.train(family, "moons", steps=20)
    assert torch.equal(torch.get_rng_state(), state)
    assert trained.losses == again.losses
    assert seen == list(range(1, 21))
    assert all(len(values) == 20 for values in trained.losses.values())
    (sample,) = zoo.load(trained.save(tmp_path / family)).generate(seed=0, count=10)
    assert sample.tensor is not None
    assert sample.tensor.shape == (10, 2)
    with pytest.raises(zoo.OptionError, match="no 'rings' to train"):
        toy2d.training.train(family, "rings")


def test_the_moments_of_the_gan_are_the_players_of_its_training(toy2d: Any) -> None:
    game = toy2d.training.train("gan", steps=10, moments=3).network
    assert [len(game.generators), len(game.discriminators)] == [3, 3]
    weights = [player[0].weight for player in game.generators]
    assert not torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[1], weights[2])


@pytest.mark.slow
def test_it_passes_the_conformance_suite(site: Path) -> None:
    environment = os.environ | {"PYTHONPATH": str(site)}
    done = subprocess.run(
        [sys.executable, "-m", "zoo_core", "check", "zoo-toy2d", "--json"],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert {result["subject"] for result in json.loads(done.stdout)["results"]} >= set(MODELS)
