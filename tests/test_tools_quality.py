"""tools/quality.py and the judge: what is measured is what the names say."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

ROOT = Path(__file__).resolve().parents[1]
LABELS = (
    "7210414959069015973496654074013134727121174235124463556041957893746430702917329776278473613693141769"
    "6054992194873974449254767905856657810164673171820299551560344654654514472327181818508925011109031642"
)


@pytest.fixture(scope="module")
def quality() -> ModuleType:
    sys.path.insert(0, str(ROOT / "tools"))
    try:
        return importlib.import_module("quality")
    finally:
        sys.path.remove(str(ROOT / "tools"))


@pytest.fixture(scope="module")
def digits() -> Tensor:
    """The first 200 of MNIST's test digits, (200, 1, 28, 28) in [-1, 1]."""
    sheet = np.asarray(Image.open(Path(__file__).parent / "data" / "mnist-test-200.png"))
    tiles = sheet.reshape(10, 28, 20, 28).transpose(0, 2, 1, 3).reshape(200, 1, 28, 28)
    return torch.from_numpy(tiles.copy()).float() / 127.5 - 1


def test_the_judge_reads_test_digits(quality: ModuleType, digits: Tensor) -> None:
    features, read = quality.look(quality.load_judge(), digits)

    assert features.shape == (200, 64)
    wrong = (read != torch.tensor([int(label) for label in LABELS])).sum().item()
    assert wrong <= 2


def test_the_frechet_distance_of_gaussians_is_the_closed_form(quality: ModuleType) -> None:
    a = (torch.tensor([1.0, 0.0]).double(), torch.tensor([4.0, 1.0]).double().diag())
    b = (torch.tensor([0.0, 2.0]).double(), torch.tensor([9.0, 1.0]).double().diag())

    assert quality.frechet_distance(a, b) == pytest.approx(1 + 4 + (2 - 3) ** 2)
    assert quality.frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_takes_correlated_and_singular_covariances(quality: ModuleType) -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(50, 6, generator=generator).double()
    flat = torch.cat([x, x[:, :1]], dim=1)  # the last feature repeats the first
    turn = torch.linalg.qr(torch.randn(7, 7, generator=generator).double())[0]

    distance = quality.frechet_distance(quality.moments(flat), quality.moments(2 * flat + 1))
    turned = quality.frechet_distance(quality.moments(flat @ turn), quality.moments((2 * flat + 1) @ turn))

    # For y = 2x + 1, Σ_y = 4Σ_x, so tr(Σ_x + Σ_y − 2(Σ_x Σ_y)^½) = tr Σ_x.
    mean = flat.mean(0)
    assert distance == pytest.approx(((mean + 1).square().sum() + flat.T.cov().trace()).item())
    assert turned == pytest.approx(distance)


def test_nearest_distances_are_those_of_the_nearest(quality: ModuleType) -> None:
    among = torch.tensor([[0.0, 0.0], [3.0, 4.0], [10.0, 0.0]])
    pixels = torch.tensor([[3.0, 4.0], [0.0, 1.0], [7.0, 0.0]])

    assert quality.nearest_distances(pixels, among, batch_size=2).tolist() == pytest.approx([0, 1, 3])


def test_copies_and_fresh_digits_are_told_apart(quality: ModuleType, digits: Tensor) -> None:
    labels = torch.tensor([int(label) for label in LABELS])
    measure = quality.Measure(quality.load_judge(), digits[:100])

    copies = measure.row("copies", digits[:50], labels[:50])
    fresh = measure.row("fresh", digits[100:150], labels[100:150])
    mislabelled = measure.row("mislabelled", digits[100:150], (labels[100:150] + 1) % 10)

    assert copies.nearest == pytest.approx(0, abs=1e-2)
    assert fresh.nearest > 1
    assert fresh.read >= 0.96
    assert mislabelled.read <= 0.04
    assert measure.row("all", digits[:100], labels[:100]).frechet == pytest.approx(0, abs=1e-6)
