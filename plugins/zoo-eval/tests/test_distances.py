"""Fréchet and kernel distances: closed forms, no bias, and coverage of the intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy import linalg
from sklearn.metrics.pairwise import polynomial_kernel
from zoo_eval.distances import Moments, first_order_changes, frechet_distance, frechet_figures
from zoo_eval.kernel import kernel_distance


def gaussian(mean, covariance):
    return Moments(2, torch.tensor(mean).double(), torch.tensor(covariance).double())


def draw(count, seed, shift=0.0, scale=1.0, width=8):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator) * scale + shift


def test_the_frechet_distance_of_gaussians_is_the_closed_form():
    a = gaussian([1.0, 0.0], [[4.0, 0.0], [0.0, 1.0]])
    b = gaussian([0.0, 2.0], [[9.0, 0.0], [0.0, 1.0]])
    assert frechet_distance(a, b) == pytest.approx(1 + 4 + (2 - 3) ** 2, abs=1e-9)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-9)


def test_the_frechet_distance_of_any_covariances_is_that_of_scipys_square_root():
    random = np.random.default_rng(0)
    for width in (3, 20, 64):
        roots = random.normal(size=(2, width, width))
        one, other = (root @ root.T for root in roots)
        means = random.normal(size=(2, width))
        expected = ((means[0] - means[1]) ** 2).sum() + np.trace(one + other)
        expected -= 2 * np.trace(linalg.sqrtm(one @ other)).real
        found = frechet_distance(gaussian(means[0], one), gaussian(means[1], other))
        assert found == pytest.approx(expected, abs=1e-6 * expected)


def test_singular_covariances_are_taken():
    x = draw(50, 0, width=6).double()
    flat = torch.cat([x, x[:, :1]], 1)  # the last feature repeats the first
    moments, moved = Moments.of(flat), Moments.of(2 * flat + 1)
    # For y = 2x + 1, Σ_y = 4 Σ_x, so what is left of the traces is tr Σ_x.
    expected = (flat.mean(0) + 1).square().sum() + flat.T.cov().trace()
    assert frechet_distance(moments, moved) == pytest.approx(float(expected))
    assert torch.isfinite(first_order_changes(flat, moments, moved)).all()


def test_moments_of_blocks_are_those_of_all():
    x = draw(5000, 0, shift=3.0)
    found = Moments.of(x)
    assert found.count == 5000
    torch.testing.assert_close(found.mean, x.double().mean(0))
    torch.testing.assert_close(found.covariance, x.double().T.cov())


def test_the_limit_has_less_bias_than_the_distance():
    data = Moments(2, torch.zeros(16).double(), torch.eye(16).double())
    found = [frechet_figures(draw(400, seed, width=16), data) for seed in range(60)]
    plain = np.mean([figures[0].value for figures in found])
    limits = np.array([figures[1].value for figures in found])
    assert plain > 0.1  # the truth is 0
    assert abs(limits.mean()) < 4 * limits.std() / math.sqrt(60) + 0.02 * plain
    assert abs(limits.mean()) < plain / 10


def test_nineteen_in_twenty_intervals_hold_the_expectation():
    data = Moments(2, torch.zeros(4).double(), torch.eye(4).double())
    truth = 4 * 0.5**2 + 4 * (1.3 - 1) ** 2
    found = [frechet_figures(draw(500, s, 0.5, 1.3, width=4), data)[1] for s in range(100)]
    held = sum(figure.low <= truth <= figure.high for figure in found)
    assert 88 <= held <= 100


def test_first_order_changes_are_what_a_heavier_sample_does():
    x, data = draw(300, 0, 0.3, 1.2, width=5), Moments.of(draw(1000, 1, width=5))
    changes = first_order_changes(x, Moments.of(x), data)
    for item in (0, 17, 299):
        weight, small = torch.ones(300).double(), 1e-4
        weight[item] += 300 * small
        weight /= weight.sum()
        mean = weight @ x.double()
        centred = x.double() - mean
        heavier = Moments(2, mean, (centred * weight[:, None]).T @ centred)
        even = Moments(2, x.double().mean(0), x.double().T.cov(correction=0))
        slope = (frechet_distance(heavier, data) - frechet_distance(even, data)) / small
        assert slope == pytest.approx(float(changes[item]), rel=0.02, abs=0.02)


def test_the_kernel_distance_is_that_of_all_pairs():
    x, y = draw(60, 0, 0.4), draw(90, 1)
    own, other, cross = (polynomial_kernel(a, b, degree=3) for a, b in ((x, x), (y, y), (x, y)))
    expected = (own.sum() - np.trace(own)) / (60 * 59) + (other.sum() - np.trace(other)) / (90 * 89)
    expected -= 2 * cross.mean()
    found = kernel_distance(x, y)
    assert found.value == pytest.approx(expected, rel=1e-4)
    assert found.low < found.value < found.high


def test_the_kernel_distance_is_unbiased_over_200_draws():
    values = np.array([kernel_distance(draw(50, 2 * i), draw(50, 2 * i + 1)).value for i in range(200)])
    assert abs(values.mean()) < 3 * values.std() / math.sqrt(200)
    assert values.min() < 0 < values.max()


def test_the_kernel_distance_does_not_depend_on_blocks():
    x, y = draw(2500, 0, 0.1), draw(2100, 1)
    whole = (
        polynomial_kernel(x, x, degree=3),
        polynomial_kernel(y, y, degree=3),
        polynomial_kernel(x, y, degree=3),
    )
    expected = (whole[0].sum() - np.trace(whole[0])) / (2500 * 2499)
    expected += (whole[1].sum() - np.trace(whole[1])) / (2100 * 2099) - 2 * whole[2].mean()
    assert kernel_distance(x, y).value == pytest.approx(expected, rel=1e-3)
