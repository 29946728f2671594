"""Test the losses, the discriminator, the augmentation, and a run of zoo train."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from zoo_stylegan.augment import KINDS, Augment, hue_saturation_matrix, resampling_matrix
from zoo_stylegan.networks.discriminator import Discriminator, minibatch_stddev
from zoo_stylegan.training import create_trainable, r1_penalty

import zoo_core as zoo
from zoo_core import OptionError, Options, TrainingData
from zoo_core.cli import cli

OPTIONS = {
    "channels": 4,
    "max_channels": 8,
    "z_dim": 8,
    "w_dim": 8,
    "mapping_layers": 2,
    "loss": "non-saturating",
    "r1": 1.0,
    "r1_every": 4,
    "path_length": 2.0,
    "path_length_every": 2,
    "mixing": 0.5,
    "augment": ",".join(KINDS),
    "ada_target": 0.6,
    "weights": "float32",
}


def trainable(shape=(1, 16, 16), classes=("a", "b"), **options):
    torch.manual_seed(0)
    return create_trainable(Options(**OPTIONS | options), TrainingData(shape, classes, 100))


def batch(n=6, shape=(1, 16, 16)):
    random = torch.Generator().manual_seed(1)
    images = torch.rand(n, *shape, generator=random) * 2 - 1
    return {"images": images, "labels": torch.arange(n) % 2}


# --- Losses -------------------------------------------------------------------------------------------------


def test_a_step_trains_the_discriminator_and_then_the_generator():
    made = trainable()
    random = torch.Generator().manual_seed(0)
    for step in range(5):
        first, second = made.losses(made.networks, batch(), random)
        assert (first.network, second.network) == ("discriminator", "generator")
        assert first.metrics.keys() >= {"discriminator loss", "D(x)", "D(G(z))", "ADA's p"}
        assert ("R1 penalty" in first.metrics) is (step % 4 == 0)
        assert ("path length penalty" in second.metrics) is (step % 2 == 0)
        for name in ("D(x)", "D(G(z))", "ADA's p"):
            assert 0 <= float(first.metrics[name]) <= 1
        assert first.value.item() >= first.metrics["discriminator loss"].item()


def test_the_losses_are_logistic():
    made = trainable(r1=0.0, path_length=0.0, ada_target=0.0)
    networks = {
        "generator": lambda *_: (torch.zeros(6, 1, 16, 16), torch.zeros(6, 6, 8)),
        "discriminator": lambda images, *_: images.sum((1, 2, 3)) * 0 + 0.7,
    }
    first, second = made.losses(networks, batch(), torch.Generator())
    logit = torch.tensor(0.7, dtype=torch.float64)
    real, fake = -logit.sigmoid().log(), -(1 - logit.sigmoid()).log()
    assert float(first.value) == pytest.approx(float(real + fake), rel=1e-6)
    assert float(second.value) == pytest.approx(float(real), rel=1e-6)  # non-saturating: −log D(G(z))
    assert float(first.metrics["D(x)"]) == pytest.approx(float(logit.sigmoid()), rel=1e-6)


def test_the_relativistic_losses_compare_pairs():
    made = trainable(loss="relativistic", r1=0.0, path_length=0.0, ada_target=0.0)
    networks = {
        "generator": lambda *_: (torch.zeros(6, 1, 16, 16), torch.zeros(6, 6, 8)),
        "discriminator": lambda images, *_: images.mean((1, 2, 3)),
    }
    margins = batch()["images"].mean((1, 2, 3))
    first, second = made.losses(networks, batch(), torch.Generator())
    assert float(first.value) == pytest.approx(float(-margins.sigmoid().log().mean()), rel=1e-5)
    assert float(second.value) == pytest.approx(float(-(-margins).sigmoid().log().mean()), rel=1e-5)
    assert float(first.metrics["D(x, G(z))"]) == pytest.approx(float(margins.sigmoid().mean()), rel=1e-5)


def test_relativistic_training_penalizes_the_gradient_at_generated_images_too():
    made = trainable(loss="relativistic", augment="")
    first, second = made.losses(made.networks, batch(), torch.Generator().manual_seed(0))
    penalties = first.value.detach() - first.metrics["discriminator loss"]
    r1, r2 = first.metrics["R1 penalty"], first.metrics["R2 penalty"]
    assert float(penalties) == pytest.approx(2 * float(r1 + r2), rel=1e-4)  # γ/2 = ½, every 4 steps
    second.value.backward()
    assert all(p.grad is not None for p in made.networks["generator"].network.synthesis.b16.parameters())


def test_r1_is_the_squared_norm_of_the_gradient():
    weights = torch.randn(1, 3, 4, 4)
    images = torch.randn(5, 3, 4, 4, requires_grad=True)
    penalty = r1_penalty((images * weights).sum((1, 2, 3)) + 7, images)
    assert float(penalty) == pytest.approx(float(weights.square().sum()), rel=1e-5)


def test_r1_reaches_the_discriminators_parameters_through_the_augmentation():
    made = trainable()
    discriminator = made.networks["discriminator"]
    discriminator.augment.p.fill_(1.0)
    real = batch()["images"].requires_grad_()
    c = torch.eye(2)[torch.arange(6) % 2]
    penalty = r1_penalty(discriminator(real, c, torch.Generator().manual_seed(3)), real)
    penalty.backward()
    reached = [name for name, p in discriminator.named_parameters() if p.grad is not None and p.grad.any()]
    assert "network.b16.fromrgb.weight" in reached
    assert "network.b4.out.weight" in reached


def test_styles_are_mixed_with_the_given_probability():
    for mixing, expected in ((0.0, 0), (1.0, 6)):
        made = trainable(mixing=mixing)
        _, _, crossover, _, _ = made._draw_inputs(
            torch.zeros(6, 1, 16, 16), None, torch.Generator().manual_seed(0)
        )
        assert int((crossover < made.config.layers).sum()) == expected
        assert int(crossover.min()) >= 1


def test_training_updates_w_avg():
    made = trainable()
    before = made.networks["generator"].network.mapping.w_avg.clone()
    list(made.losses(made.networks, batch(), torch.Generator().manual_seed(0)))
    assert not torch.equal(before, made.networks["generator"].network.mapping.w_avg)


# --- The discriminator --------------------------------------------------------------------------------------


def test_equal_neighbours_have_no_minibatch_stddev():
    images = torch.randn(2, 3, 4, 4).repeat_interleave(4, dim=0)  # two groups of four
    assert minibatch_stddev(images).max() < 1e-3
    assert minibatch_stddev(images).shape == (8, 1, 4, 4)
    assert minibatch_stddev(torch.randn(8, 3, 4, 4)).min() > 0.3
    assert minibatch_stddev(torch.randn(7, 3, 4, 4)).shape == (7, 1, 4, 4)  # seven groups of one


def test_logits_depend_on_the_class():
    torch.manual_seed(0)
    discriminator = Discriminator((8, 8), 1, classes=2, mapping_layers=2)
    images = torch.randn(4, 1, 8, 8)
    one, other = (discriminator(images, torch.eye(2)[[k] * 4]) for k in (0, 1))
    assert one.shape == (4,)
    assert (one - other).abs().min() > 0
    assert Discriminator((8, 8), 3)(torch.randn(2, 3, 8, 8)).shape == (2,)


# --- Augmentation -------------------------------------------------------------------------------------------


def test_images_are_augmented_only_if_p_is_positive():
    augment, images = Augment(), torch.rand(8, 3, 16, 16) * 2 - 1
    random = torch.Generator().manual_seed(0)
    assert augment(images, random) is images
    augment.p.fill_(1.0)
    assert (augment(images, random) - images).flatten(1).abs().amax(1).min() > 0.01
    augment.p.fill_(0.3)
    assert 0 < int(((augment(images, random) - images).flatten(1).abs().amax(1) < 1e-5).sum()) < 8


def test_p_follows_the_sign_of_real_logits():
    augment = Augment(target=0.6, images_to_full=100)
    for _ in range(5):
        augment.adjust(torch.ones(10))
    grown = float(augment.p)
    assert grown == pytest.approx(0.2, abs=0.11)
    for _ in range(20):
        augment.adjust(-torch.ones(10))
    assert float(augment.p) == 0
    still = Augment(target=0.0)
    still.adjust(torch.ones(10))
    assert float(still.p) == 0


def same(n: int, value: float) -> torch.Tensor:
    return torch.full((n,), value)


def test_rows_are_flipped_moved_and_scaled():
    row = torch.arange(8.0)
    still = resampling_matrix(8, same(1, 1.0), same(1, 0.0), torch.tensor([False]))[0]
    assert torch.allclose(still, torch.eye(8))
    flipped = resampling_matrix(8, same(1, 1.0), same(1, 0.0), torch.tensor([True]))[0]
    assert torch.allclose(flipped @ row, row.flip(0))
    moved = resampling_matrix(8, same(1, 1.0), same(1, 2.0), torch.tensor([False]))[0]
    assert torch.allclose(moved @ row, torch.tensor([1.0, 0, 0, 1, 2, 3, 4, 5]))  # mirrored beyond the end
    larger = resampling_matrix(8, same(1, 2.0), same(1, 0.0), torch.tensor([False]))[0]
    assert torch.allclose((larger @ row)[2:6], torch.tensor([2.75, 3.25, 3.75, 4.25]))
    smaller = resampling_matrix(8, same(1, 0.5), same(1, 0.0), torch.tensor([False]))[0]
    assert torch.allclose(smaller.sum(1), torch.ones(8))
    assert torch.allclose(smaller @ torch.ones(8), torch.ones(8))


def test_hues_rotate_about_the_grey_axis():
    third = hue_saturation_matrix(same(1, 2 * np.pi / 3), same(1, 1.0))[0]
    red = third @ torch.tensor([1.0, 0, 0])
    assert sorted(red.round(decimals=4).tolist()) == [0, 0, 1]
    assert red[0] == pytest.approx(0, abs=1e-5)
    grey = hue_saturation_matrix(same(1, 1.0), same(1, 0.0))[0]
    assert torch.allclose(grey @ torch.tensor([0.9, 0.3, 0.0]), torch.full((3,), 0.4), atol=1e-5)
    assert torch.allclose(hue_saturation_matrix(same(1, 0.0), same(1, 1.0))[0], torch.eye(3), atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_given_augmentations_are_applied(kind):
    augment = Augment([kind])
    augment.p.fill_(1.0)
    images = torch.rand(16, 3, 16, 16)
    changed = augment(images, torch.Generator().manual_seed(0))
    assert (changed - images).abs().max() > 0.01
    if kind == "colour":
        places = images.flatten(2).std(2) > 0
        assert places.all()
        flat = augment(torch.zeros(2, 1, 4, 4), torch.Generator()).flatten(1)
        assert torch.allclose(flat.std(1), torch.zeros(2))
    elif kind == "flip":
        kept, turned = (torch.isclose(changed, x).flatten(1).all(1) for x in (images, images.flip(3)))
        assert (kept | turned).all()


# --- From zoo train to zoo run ------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    random = np.random.default_rng(0)
    for index in range(12):
        home = folder / ("dark" if index % 2 else "light")
        home.mkdir(exist_ok=True)
        level = random.integers(0, 80, (16, 16)) + (0 if index % 2 else 170)
        Image.fromarray(level.astype(np.uint8)).save(home / f"{index}.png")
    return folder


SMALL = ["--size", "16", "--grey", "--channels", "4", "--max-channels", "8", "--z-dim", "8", "--w-dim", "8"]
RUN = [*SMALL, "--batch-size", "4", "--sample-every", "0", "--log-every", "1", "--checkpoint-every", "3"]


def train(data: Path, folder: Path, *words: str) -> None:
    done = CliRunner().invoke(
        cli, ["train", "stylegan2", "--data", str(data), "-o", str(folder), *RUN, *words]
    )
    assert done.exit_code == 0, done.output


def test_a_run_ends_in_a_model_with_classes_and_a_curve(images, tmp_path):
    train(images, tmp_path / "run", "--steps", "5", "--r1-every", "2")
    model = zoo.load(tmp_path / "run", device="cpu")
    (sample,) = model.generate(seed=0, label=1)
    assert sample.tensor.shape == (1, 16, 16)
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["zoo"]["class_names"] == ["dark", "light"]
    lines = (tmp_path / "run" / "training" / "curve.jsonl").read_text().splitlines()
    figures = json.loads(lines[-1])
    wanted = {"discriminator loss", "generator loss", "D(x)", "D(G(z))", "ADA's p", "R1 penalty"}
    assert figures.keys() >= wanted
    assert figures["lr"] == 0.0025  # the family's own default
    assert Image.open(tmp_path / "run" / "training" / "curve.png").size == (1000, 1200)


def test_an_interrupted_run_ends_like_an_uninterrupted_one(images, tmp_path):
    train(images, tmp_path / "whole", "--steps", "6")
    train(images, tmp_path / "cut", "--steps", "3")
    train(images, tmp_path / "cut", "--steps", "6")
    whole, cut = (tmp_path / name / "model.safetensors" for name in ("whole", "cut"))
    assert whole.read_bytes() == cut.read_bytes()


@pytest.mark.parametrize(
    ("shape", "options", "message", "remedy"),
    [
        ((1, 28, 28), {}, "these images have 28×28", "--size 32"),
        ((3, 64, 32), {}, "these images have 64×32", "--size 64"),
        ((3, 4, 4), {}, "these images have 4×4", "--size 8"),
        ((3, 16, 16), {"augment": "flip,twist"}, "unknown augmentation 'twist'", "flip,translate"),
    ],
)
def test_invalid_data_and_options_are_refused(shape, options, message, remedy):
    with pytest.raises(OptionError) as caught:
        trainable(shape, **options)
    assert message in caught.value.message
    assert remedy in caught.value.remedy
