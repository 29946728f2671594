"""Intervals contain the true value as often as they claim, whatever the blocks."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from zoo_eval.bootstrap import around, mean_figure, resampled_means


@pytest.mark.parametrize("truth", [0.05, 0.5])
def test_intervals_of_shares_hold_the_truth(truth):
    random = np.random.default_rng(0)
    figures = [mean_figure(torch.from_numpy(random.random(400) < truth).double()) for _ in range(200)]
    held = sum(figure.low <= truth <= figure.high for figure in figures)
    assert 178 <= held <= 200


def test_resampled_means_spread_as_the_standard_error():
    values = torch.randn(9000, generator=torch.Generator().manual_seed(0)).double()
    spread = resampled_means(values, 2000).std()
    assert float(spread) == pytest.approx(float(values.std()) / 9000**0.5, rel=0.08)


def test_the_same_values_have_the_same_interval():
    values = torch.rand(5000, generator=torch.Generator().manual_seed(0))
    assert mean_figure(values) == mean_figure(values.clone())


def test_an_interval_moves_with_its_value():
    figure = around(10.0, torch.linspace(-1, 1, 1001))
    assert (figure.low, figure.high) == pytest.approx((9.05, 10.95))
