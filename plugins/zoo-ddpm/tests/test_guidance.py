"""Guidance: towards a label by a noisy classifier, away from a weaker network, in an interval, rescaled."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from openai_networks import classifier_tensors
from zoo_ddpm import checkpoint
from zoo_ddpm.guidance import autoguided, classifier_gradient, within
from zoo_ddpm.prediction import Prediction, guided, rescaled
from zoo_ddpm.timesteps import SamplerStep
from zoo_ddpm.unet import UNet
from zoo_ddpm.unet_config import UNetConfig

import zoo_core as zoo
from zoo_core import OptionError
from zoo_core.environment import Environment


def save_unet(folder: Path, zoo_table: dict[str, Any], seed: int = 0, **options: Any) -> None:
    torch.manual_seed(seed)
    config = UNetConfig(
        sample_size=16,
        block_out_channels=(8, 8),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        layers_per_block=1,
        norm_num_groups=2,
        add_attention=False,
        **options,
    )
    checkpoint.write(folder, UNet(config), {"_class_name": "DDPMScheduler"}, zoo_table)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without classes, one with five and a null class, a weaker one, a classifier of five classes."""
    root = tmp_path_factory.mktemp("guidance")
    save_unet(root / "plain", {})
    save_unet(root / "weaker", {}, seed=1)
    save_unet(root / "classes", {"null_class": 5}, num_class_embeds=6)
    torch.manual_seed(0)
    torch.save(classifier_tensors(multipliers=(1,), attending=(0,), side=16), root / "classifier.pt")
    with pytest.warns(zoo.ZooNote):
        Environment.current().convert(root / "classifier.pt", root / "classifier")
    return root


def made(folder: Path, **options: Any) -> torch.Tensor:
    model = zoo.load(folder, device="cpu")
    return next(iter(model.generate(n=1, seed=0, steps=2, **options))).tensor


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "heun"])
def test_a_classifier_guides_a_model_without_classes(folders, sampler):
    by = {"sampler": sampler, "classifier": str(folders / "classifier")}
    plain = made(folders / "plain", sampler=sampler)
    assert not torch.equal(made(folders / "plain", label=2, **by), plain)
    assert not torch.equal(made(folders / "plain", label=2, **by), made(folders / "plain", label=3, **by))


def test_the_gradient_raises_the_probability_of_the_label(folders):
    classifier = checkpoint.read_classifier(
        checkpoint.open_folder(str(folders / "classifier"), "--classifier")
    )
    labels, x = torch.tensor([1, 4]), torch.randn(2, 3, 16, 16)
    with torch.inference_mode():
        gradient = classifier_gradient(classifier, labels, 3.0)(x, 500.0)
        half = classifier_gradient(classifier, labels, 1.5)(x, 500.0)
        before, after = (
            torch.log_softmax(classifier(each, 500.0), dim=1).gather(1, labels[:, None])
            for each in (x, x + 1e-2 * gradient / gradient.norm())
        )
    assert (after > before).all()
    assert torch.allclose(gradient, 2 * half)


def test_a_weaker_network_guides(folders):
    plain, weaker = folders / "plain", str(folders / "weaker")
    assert torch.equal(made(plain, guide=weaker, guidance_scale=1.0), made(plain))
    assert not torch.equal(made(plain, guide=weaker), made(plain))
    both = autoguided(lambda x, t: 3 * x, lambda x, t: 2 * x, 2.0)
    assert torch.equal(both(torch.ones(1, 3, 2, 2), 0.0), torch.full((1, 3, 2, 2), 4.0))


def test_guidance_acts_within_its_interval_alone(folders):
    classes = folders / "classes"
    plain = made(classes, label=1, guidance_scale=1.0)
    high = made(classes, label=1, guidance_scale=4.0, guidance_interval="1000,2000")
    assert torch.equal(high, plain)
    assert not torch.equal(made(classes, label=1, guidance_scale=4.0, guidance_interval="0,2000"), plain)
    predict = within((1.0, 2.0), lambda *_: Prediction(*[torch.ones(1)] * 2, None), lambda *_: None)
    chosen = [
        predict(torch.ones(1), SamplerStep(0, 1 / (1 + s**2), 1.0)) is not None for s in (0.9, 1.5, 2.1)
    ]
    assert chosen == [False, True, False]


def test_rescaling_restores_the_contrast_of_the_conditional_prediction():
    conditional = torch.randn(2, 3, 8, 8)
    strong = 3 * conditional + 1
    back = rescaled(strong, conditional, 1.0)
    assert torch.allclose(back.std((1, 2, 3)), conditional.std((1, 2, 3)))
    network = guided(lambda x, t, y: x * (1 + y.view(-1, 1, 1, 1)), torch.tensor([1]), 0, 5.0, 1.0)
    x = torch.randn(1, 3, 8, 8)
    assert torch.allclose(network(x, 0.0), 2 * x, atol=1e-5)


@pytest.mark.parametrize(
    ("model", "options", "message"),
    [
        ("plain", {"classifier": "nowhere"}, r"--classifier nowhere: no folder"),
        ("plain", {"classifier_scale": 2.0}, "--classifier-scale needs --classifier"),
        ("plain", {"guide": "classes"}, "--guide .*: a network of other images or classes"),
        ("plain", {"guidance_interval": "5,1"}, "not two noise levels"),
        ("plain", {"guidance_interval": "x"}, "not a list of numbers"),
        ("plain", {"guidance_scale": 3.0}, "cannot be guided"),
        ("plain", {"guidance_interval": "1,5"}, "nothing guides here"),
        ("plain", {"guidance_rescale": 0.5}, "for classifier-free guidance"),
        ("weaker", {"guide": "plain", "guidance_rescale": 0.5}, "for classifier-free guidance"),
    ],
)
def test_bad_guidance_is_refused(folders, model, options, message):
    options = options | {
        key: str(folders / options[key]) for key in options if options[key] in ("classes", "plain")
    }
    with pytest.raises(OptionError, match=message):
        made(folders / model, **options)


def test_the_wrong_classifier_is_refused(folders):
    with pytest.raises(zoo.WeightsError, match="is no noisy classifier"):
        made(folders / "plain", classifier=str(folders / "weaker"))
    assert math.isfinite(
        float(made(folders / "classes", classifier=str(folders / "classifier"), label=0).sum())
    )
