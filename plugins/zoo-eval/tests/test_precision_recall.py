"""Precision, recall, density and coverage agree with the authors' code."""

from __future__ import annotations

import pytest
import torch
from prdc import compute_prdc
from zoo_eval.precision_recall import knn_radii, prdc


@pytest.mark.parametrize(("count", "others", "width"), [(300, 300, 8), (250, 400, 64), (3000, 2500, 16)])
@pytest.mark.parametrize("k", [3, 5])
def test_all_four_are_those_of_the_reference(count, others, width, k):
    generator = torch.Generator().manual_seed(count)
    samples = torch.randn(count, width, generator=generator) * 0.8 + 0.1
    data = torch.randn(others, width, generator=generator)

    found = prdc(samples, data, knn_radii(samples, (k, k)), knn_radii(data, (k, k)), k)

    expected = compute_prdc(data.numpy(), samples.numpy(), nearest_k=k)
    for name, value in expected.items():
        assert float(getattr(found, name).double().mean()) == pytest.approx(value, abs=1e-9), name


def test_a_set_within_itself_is_precise_and_complete():
    data = torch.randn(200, 4, generator=torch.Generator().manual_seed(0))
    found = prdc(data, data, knn_radii(data), knn_radii(data))
    assert found.precision.all()
    assert found.recall.all()
    assert found.coverage.all()


def test_one_repeated_sample_is_precise_and_covers_nothing():
    data = torch.randn(500, 4, generator=torch.Generator().manual_seed(0))
    samples = data[:1].repeat(500, 1)
    found = prdc(samples, data, knn_radii(samples), knn_radii(data))
    assert found.precision.double().mean() == 1
    assert found.recall.double().mean() < 0.01
    assert found.coverage.double().mean() < 0.05


def test_few_points_reach_as_far_as_they_can():
    points = torch.tensor([[0.0], [1.0], [3.0]])
    assert knn_radii(points, (1, 5)).tolist() == [[1, 3], [1, 2], [2, 3]]
