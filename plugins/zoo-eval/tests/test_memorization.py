"""Memorization: planted copies are found at their rate, and new data are not taken for copies."""

from __future__ import annotations

import pytest
import torch
from zoo_eval.memorization import memorization, nearest


def draw(count, seed, width=12):
    return torch.randn(count, width, generator=torch.Generator().manual_seed(seed))


def test_neighbours_are_the_nearest():
    points, data = draw(70, 0), draw(5000, 1)
    found = nearest(points, data)
    distances = (points.double()[:, None] - data.double()).norm(dim=2)
    assert found.indices.tolist() == distances.argmin(1).tolist()
    torch.testing.assert_close(found.distances.double(), distances.amin(1), rtol=1e-5, atol=0)


def test_nothing_is_its_own_neighbour():
    data = draw(2500, 0)
    found = nearest(data, data)
    distances = (data.double()[:, None] - data.double()).norm(dim=2).fill_diagonal_(torch.inf)
    assert found.indices.tolist() == distances.argmin(1).tolist()
    twins = torch.cat([data[:10], data[:10]])
    assert nearest(twins, twins).distances.abs().max() == 0


def test_a_copy_is_at_no_distance_at_all():
    data = draw(3000, 0) + 50  # where products of matrices round coarsely
    assert nearest(data[100:110], data).distances.tolist() == [0.0] * 10


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.1, 0.5])
def test_a_planted_rate_is_recovered_within_its_interval(rate):
    data, held_out = draw(4000, 0), draw(1000, 1)
    samples = draw(1000, 2)
    planted = int(rate * len(samples))
    samples[:planted] = data[:planted] + 1e-3 * draw(planted, 3) if planted else samples[:0]
    others = nearest(data, data).distances

    found = memorization(nearest(samples, data), nearest(held_out, data).distances, others)

    assert found.closer is not None
    assert found.closer.low <= rate <= found.closer.high
    assert found.closer.value == pytest.approx(rate, abs=0.005)
    # A copy is never authentic, and of the others as many as of held-out data are.
    fresh = memorization(nearest(held_out, data), None, others).authenticity.value
    assert found.authenticity.value == pytest.approx((1 - rate) * fresh, abs=0.06)


def test_fresh_data_are_as_far_away_as_held_out_ones():
    data = draw(4000, 0)
    found = memorization(
        nearest(draw(800, 1), data), nearest(draw(800, 2), data).distances, nearest(data, data).distances
    )
    assert found.ratio is not None
    assert found.ratio.low <= 1 <= found.ratio.high
    assert found.ratio.high - found.ratio.low < 0.1


def test_without_held_out_data_authenticity_remains():
    data = draw(300, 0)
    found = memorization(nearest(draw(100, 1), data), None, nearest(data, data).distances)
    assert found.ratio is None
    assert found.closer is None
    assert 0 < found.authenticity.value < 1
