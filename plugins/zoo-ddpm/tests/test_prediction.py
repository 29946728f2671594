"""What a sampler is told does not depend on what the network was trained to give."""

from __future__ import annotations

from dataclasses import replace
from typing import get_args

import diffusers
import pytest
import torch
from torch import Tensor
from zoo_ddpm.prediction import clip_x0, guided, labelled, predictor, target
from zoo_ddpm.schedule import PredictionType, SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep

STEP = SamplerStep(t=500, alpha_bar=0.3, alpha_bar_prev=0.4)
SIGNAL, NOISE = torch.tensor([0.3, 0.7], dtype=torch.float64).sqrt()


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    random = torch.Generator().manual_seed(0)
    return torch.rand(2, 1, 4, 4, generator=random).double() * 2 - 1, torch.randn(
        2, 1, 4, 4, generator=random
    ).double()


@pytest.mark.parametrize("prediction_type", get_args(PredictionType))
def test_a_network_that_answers_its_target_yields_the_image_and_the_noise(pair, prediction_type):
    x_0, epsilon = pair
    x_t = SIGNAL * x_0 + NOISE * epsilon
    answer = target(prediction_type, x_0, epsilon, SIGNAL, NOISE)

    prediction = predictor(lambda x, t: answer, SchedulerConfig(prediction_type=prediction_type))(x_t, STEP)

    assert torch.allclose(prediction.x_0, x_0, atol=1e-6)
    assert torch.allclose(prediction.epsilon, epsilon, atol=1e-6)
    assert prediction.variance is None


def test_epsilon_follows_a_clipped_x_0_only_where_asked():
    x_t = torch.full((1, 1, 1, 1), 4.0)
    network = lambda x, t: torch.zeros_like(x)  # noqa: E731

    stays = predictor(network, SchedulerConfig())(x_t, STEP)
    follows = predictor(network, SchedulerConfig(), use_clipped_model_output=True)(x_t, STEP)

    assert (float(stays.x_0), float(stays.epsilon)) == (1, 0)
    assert float(follows.epsilon) == pytest.approx((4 - 0.3**0.5) / 0.7**0.5)


def test_static_limits_clip_and_none_leaves_alone():
    x = torch.tensor([-5.0, 0.5, 5.0]).view(1, 1, 1, 3)

    assert clip_x0(x, SchedulerConfig(clip_sample_range=2.0)).flatten().tolist() == [-2, 0.5, 2]
    assert torch.equal(clip_x0(x, SchedulerConfig(clip_sample=False)), x)


def test_dynamic_thresholding_equals_that_of_diffusers():
    config = SchedulerConfig(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=3.0)
    theirs = diffusers.DDPMScheduler(thresholding=True, dynamic_thresholding_ratio=0.9, sample_max_value=3.0)
    x = 2 * torch.randn(3, 3, 8, 8, generator=torch.Generator().manual_seed(0))

    assert torch.allclose(clip_x0(x, config), theirs._threshold_sample(x), atol=1e-6)
    one_by_one = torch.cat([clip_x0(row[None], config) for row in x])
    assert torch.equal(clip_x0(x, config), one_by_one)


def labelled_network(x: Tensor, t: float, labels: Tensor | None) -> Tensor:
    """Answers with its label, as mean and as variance."""
    assert labels is not None
    return labels.view(-1, 1, 1, 1).to(x) * torch.ones(1, 2, *x.shape[2:])


def test_guidance_goes_from_the_null_class_through_the_label():
    x = torch.zeros(2, 1, 1, 1)
    labels = torch.tensor([0, 4])

    for scale, expected in [(0.0, [10, 10]), (1.0, [0, 4]), (3.0, [-20, -8])]:
        output = guided(labelled_network, labels, null_class=10, scale=scale)(x, 0)
        assert output[:, 0].flatten().tolist() == expected
        assert output[:, 1].flatten().tolist() == [0, 4]  # the variance is the label's own
    assert torch.equal(labelled(labelled_network, labels)(x, 0), labelled_network(x, 0, labels))


def test_guidance_is_the_same_for_every_prediction_type(pair):
    """A network gives ε, v or x_0 for each label; guided, all three say the same x_0."""
    _, noise = pair
    x_t = noise
    images = {0: torch.tensor(0.2), 1: torch.tensor(-0.4)}
    results = []
    for prediction_type in get_args(PredictionType):

        def network(x: Tensor, t: float, labels: Tensor | None, kind: str = prediction_type) -> Tensor:
            assert labels is not None
            x_0 = torch.stack([images[int(label)].expand(x.shape[1:]) for label in labels]).double()
            return target(kind, x_0, (x - SIGNAL * x_0) / NOISE, SIGNAL, NOISE)

        config = replace(SchedulerConfig(clip_sample=False), prediction_type=prediction_type)
        results.append(predictor(guided(network, torch.tensor([0, 0]), 1, 2.0), config)(x_t, STEP).x_0)

    for x_0 in results:
        assert torch.allclose(x_0, torch.tensor(0.8).double(), atol=1e-6)
