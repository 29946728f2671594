import pytest
import torch
from torch import nn
from zoo_train.ema import EMA


def test_it_forgets_the_beginning_fast_and_then_trails_by_the_decay() -> None:
    average = EMA(nn.Linear(1, 1), decay=0.99)

    assert average.decay_at(0) == 0.1
    assert average.decay_at(90) == pytest.approx(0.91)
    assert average.decay_at(10_000) == 0.99


def test_an_update_mixes_parameters_and_copies_buffers() -> None:
    network = nn.BatchNorm1d(2)
    average = EMA(network, decay=0.5)
    with torch.no_grad():
        network.weight.fill_(3.0)
    network.running_mean.fill_(7.0)

    average.update(network, step=1000)

    assert average.network.weight.tolist() == [2.0, 2.0]
    assert average.network.running_mean.tolist() == [7.0, 7.0]


def test_the_copy_is_for_evaluation_and_does_not_learn() -> None:
    average = EMA(nn.Linear(1, 1), decay=0.5)

    assert not average.network.training
    assert not any(parameter.requires_grad for parameter in average.network.parameters())
