"""The variational bound against improved-diffusion, term by term, and what a bound has to be."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from tiny import tiny
from torch import Tensor
from zoo_ddpm import checkpoint
from zoo_ddpm.elbo import (
    decoder_variance,
    discretised_log_likelihood,
    kl_term,
    prior_term,
    variational_bound,
)
from zoo_ddpm.prediction import Prediction, predictor
from zoo_ddpm.samplers import log_variance
from zoo_ddpm.sampling import sampler_steps
from zoo_ddpm.schedule import SchedulerConfig
from zoo_ddpm.timesteps import SamplerStep
from zoo_ddpm.unet import UNet

import zoo_core as zoo
from zoo_core import Noise, OptionError, ZooError
from zoo_core.cli import cli

BITS = math.log(2)
RUNS = [
    "eps_learned_range_linear1000",
    "eps_learned_range_cosine1000",
    "eps_fixed_small_linear1000",
    "eps_fixed_large_linear1000",
    "start_x_learned_linear1000",
    "eps_learned_range_linear100",
]


def config_of(about: dict[str, Any], clip: bool) -> SchedulerConfig:
    T = about["num_timesteps"]
    return SchedulerConfig(
        num_train_timesteps=T,
        beta_start=0.1 / T,
        beta_end=20 / T,
        beta_schedule={"linear": "linear", "cosine": "squaredcos_cap_v2"}[about["beta_schedule"]],
        prediction_type={"EPSILON": "epsilon", "START_X": "sample"}[about["model_mean_type"]],
        variance_type=about.get("model_var_type", "").lower(),
        clip_sample=clip,
    )


def analytic(learned: bool) -> Any:
    """The golden network; gives variance channels where the variance is learned."""

    def network(x: Tensor, t: float) -> Tensor:
        mean = 0.5 * x + 0.5 * math.sin(t / 100)
        return torch.cat([mean, 0.8 * math.cos(t / 50) + 0.2 * torch.tanh(x)], dim=1) if learned else mean

    return network


def rows(case: Any, run: str) -> Iterator[tuple[int, SamplerStep, list[SamplerStep], Tensor, Tensor]]:
    """For each row of a run: its number, its step, all steps, x_0 and ε."""
    config = config_of(case.runs[run], clip=True)
    steps = sampler_steps(config, "ddpm", config.num_train_timesteps, "trailing")
    for i, t in enumerate(case[f"inputs/{run}/t"].tolist()):
        x_0, epsilon = (case[f"inputs/{name}"][i : i + 1].double() for name in ("x_start", "noise"))
        yield i, steps[-1 - t], steps, x_0, epsilon


@pytest.mark.parametrize("clip", [True, False], ids=["clipped", "unclipped"])
@pytest.mark.parametrize("run", RUNS)
def test_each_term_of_the_bound_equals_that_of_improved_diffusion(golden, relative_error, run, clip):
    case = golden("diffusion_losses")
    config = config_of(case.runs[run], clip)
    predict = predictor(analytic(config.variance_type.startswith("learned")), config)
    suffix = "clipped" if clip else "unclipped"
    terms, means, x_0s, priors, log_variances = [], [], [], [], []
    for i, step, steps, x_0, epsilon in rows(case, run):
        decoder = decoder_variance(steps)
        nats = kl_term(predict, config.variance_type, step, decoder, x_0, epsilon)
        x_t = case[f"outputs/{run}/x_t_f64"][i : i + 1]
        prediction = predict(x_t, step)
        x_0s.append(prediction.x_0)
        means.append(step.posterior_mean(prediction.x_0, x_t))
        terms.append(nats / x_0.numel() / BITS)
        priors.append(prior_term(x_0, steps[0].alpha_bar) / x_0.numel() / BITS)
        log_variances.append(log_variance(config.variance_type, step, prediction.variance).expand_as(x_0))

    def error(ours: list[Tensor], name: str) -> float:
        return relative_error(torch.cat(ours), case[f"outputs/{run}/{name}_f64"])

    assert error(terms, f"vb_{suffix}") <= 1e-9
    # At 1e-9 bits the reference's own sum, in which ones cancel, is good to eight digits.
    assert torch.allclose(torch.cat(priors), case[f"outputs/{run}/prior_bpd_f64"], rtol=1e-9, atol=1e-16)
    assert error(means, f"p_mean_{suffix}") <= 1e-9
    assert error(x_0s, f"pred_xstart_{suffix}") <= 1e-9
    inner = [i for i, step, *_ in rows(case, run) if step.t > 0]
    expected = case[f"outputs/{run}/p_log_variance_f64"][inner]
    assert relative_error(torch.cat(log_variances)[inner], expected) <= 1e-9


class Recorded:
    """A source of noise that hands out recorded tensors, standing in for streams."""

    def __init__(self, noise: Tensor) -> None:
        self._draws = iter(noise)

    def normal(self, *shape: int) -> Tensor:
        draw = next(self._draws)
        assert draw.shape[1:] == shape
        return draw


def test_the_whole_bound_equals_that_of_improved_diffusion(golden, relative_error):
    case = golden("diffusion_losses")
    config = SchedulerConfig(
        num_train_timesteps=20, beta_schedule="squaredcos_cap_v2", variance_type="learned_range"
    )
    data = ((case["inputs/x_start"][:2].double() + 1) * 127.5).round().to(torch.uint8)

    score = variational_bound(
        predictor(analytic(learned=True), config), config, data, Recorded(case["inputs/bound/noise"].double())
    )

    # The golden x_0 was rounded to float32 on its way from 8 bits.
    assert relative_error(-score.nats / score.size / BITS, case["outputs/bound/total_bpd_f64"]) <= 1e-7
    assert score.bound
    assert score.nats.dtype == torch.float64
    assert score.size.tolist() == [48, 48]


def test_the_probabilities_of_all_levels_sum_to_one():
    levels = (torch.arange(256).double() / 127.5 - 1).view(-1, 1)
    mean = torch.linspace(-1.2, 1.2, 7, dtype=torch.float64)

    total = discretised_log_likelihood(levels, mean, torch.tensor(-3.0).double()).exp().sum(0)

    assert torch.allclose(total, torch.ones_like(total), atol=1e-9)


def test_a_perfect_network_needs_only_the_bits_that_its_decoder_does():
    """If all data are one image and the network knows it, every inner term is zero."""
    config = SchedulerConfig(num_train_timesteps=50)
    data = torch.full((2, 1, 4, 4), 200, dtype=torch.uint8)
    x_0 = data.double() / 127.5 - 1

    def predict(x_t: Tensor, step: SamplerStep) -> Prediction:
        return Prediction(x_0, x_t, None)

    steps = sampler_steps(config, "ddpm", 50, "trailing")
    epsilon = torch.ones_like(x_0)
    terms = [kl_term(predict, "fixed_small", s, decoder_variance(steps), x_0, epsilon) for s in steps]

    assert torch.stack(terms[:-1]).abs().max() < 1e-9
    score = variational_bound(predict, config, data, Noise([0, 1]))
    assert torch.allclose(score.nats, -terms[-1] - prior_term(x_0, steps[0].alpha_bar))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    def write(**network: Any) -> zoo.Model:
        path = tmp_path_factory.mktemp("scored")
        torch.manual_seed(0)
        config = tiny(**network)
        table = {"null_class": 2} if network.get("num_class_embeds") == 3 else {}
        checkpoint.write(path, UNet(config), {"num_train_timesteps": 30}, table)
        return zoo.load(path, device="cpu")

    return write


def test_a_model_scores_each_image_by_its_own_stream(folder):
    model = folder(num_class_embeds=3)
    data = torch.randint(0, 256, (3, 1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)

    score = model.generator.log_likelihood(data, Noise([5, 6, 7]))
    alone = model.generator.log_likelihood(data[1:2], Noise([6]))

    assert isinstance(model.generator, zoo.Scorer)
    assert "score" in model.card.capabilities
    assert torch.isfinite(score.nats).all()
    assert (score.nats < 0).all()
    assert torch.allclose(alone.nats, score.nats[1:2], rtol=1e-5)


def test_the_terms_of_the_bound_add_up_and_are_plotted(folder, tmp_path):
    model = folder(num_class_embeds=3)
    data = torch.full((1, 1, 8, 8), 90, dtype=torch.uint8)
    image, plot = tmp_path / "a$b.png", tmp_path / "plot.png"
    Image.fromarray(data[0, 0].numpy()).save(image)
    command = ["score", model.checkpoint.source, str(image), "--plot", str(plot)]

    score = model.log_likelihood(data)
    done = CliRunner().invoke(cli, command, catch_exceptions=False)

    assert score.terms.shape == (1, 31)  # of the prior and of 30 timesteps
    assert torch.allclose(score.terms.sum(1), -score.nats)
    assert "bits per dimension" in done.output
    assert Image.open(plot).width == 900
    for words, wrong in ((command, "exists"), ([*command, "--ode"], "--ode computes none")):
        with pytest.raises(ZooError, match=wrong):
            CliRunner().invoke(cli, words, catch_exceptions=False)


def test_images_of_another_shape_are_refused(folder):
    with pytest.raises(OptionError, match=r"8-bit images of shape \(1, 8, 8\), not \(3, 8, 8\)"):
        folder().generator.log_likelihood(torch.zeros(1, 3, 8, 8, dtype=torch.uint8), Noise([0]))


def test_a_model_that_knows_only_given_classes_refuses_to_score(folder):
    with pytest.raises(ZooError, match="no null class"):
        folder(num_class_embeds=4).generator.log_likelihood(
            torch.zeros(1, 1, 8, 8, dtype=torch.uint8), Noise([0])
        )
