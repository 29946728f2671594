"""Test zoo run on small random StyleGANs: conformance, options, and each checkpoint layout."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from zoo_stylegan.formats.checkpoint import load_generator, parse_config, to_json
from zoo_stylegan.latents.mixing import parse_mix
from zoo_stylegan.networks.stylegan2 import StyleGAN2, StyleGAN2Config
from zoo_stylegan.networks.stylegan3 import StyleGAN3, StyleGAN3Config

import zoo_core as zoo
from zoo_core import Checkpoint, OptionError, WeightsError, save_weights
from zoo_core.testing import GeneratorConformance, embedded_models

pytestmark = pytest.mark.slow

TWO = {"resolution": 16, "channels": [16, 16, 8], "z_dim": 16, "w_dim": 16, "classes": 3, "mapping_layers": 2}
THREE = {"resolution": 16, "channel_base": 256, "channel_max": 8, "z_dim": 16, "w_dim": 16}

FEW_STEPS = {"inversion_steps": 5}


@pytest.fixture(scope="session")
def stylegan2_folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    network = StyleGAN2(StyleGAN2Config(**TWO | {"channels": tuple(TWO["channels"])}))
    for name, tensor in network.state_dict().items():
        if name.endswith("noise_strength"):
            tensor.fill_(0.3)
    return write(tmp_path_factory.mktemp("stylegan2"), network, {"model_type": "stylegan2", **TWO})


@pytest.fixture(scope="session")
def stylegan3_folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    network = StyleGAN3(StyleGAN3Config(**THREE))
    return write(tmp_path_factory.mktemp("stylegan3"), network, {"model_type": "stylegan3", **THREE})


def write(folder: Path, network: torch.nn.Module, config: dict) -> Path:
    save_weights(folder / "model.safetensors", network.state_dict())
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="module")
def model(stylegan2_folder) -> zoo.Model:
    return zoo.load(stylegan2_folder, device="cpu")


def images(model: zoo.Model, **options) -> torch.Tensor:
    return torch.stack([sample.tensor for sample in model.generate(**options)])


class TestStyleGAN2(GeneratorConformance):
    options = FEW_STEPS

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, stylegan2_folder: Path) -> zoo.Model:
        return zoo.load(stylegan2_folder, device="cpu")


class TestStyleGAN3(GeneratorConformance):
    options = FEW_STEPS

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, stylegan3_folder: Path) -> zoo.Model:
        return zoo.load(stylegan3_folder, device="cpu")


class TestEmbedded(GeneratorConformance):
    @pytest.fixture(scope="class", params=embedded_models("zoo-stylegan"))
    @classmethod
    def subject(cls, request: pytest.FixtureRequest) -> zoo.Model:
        return zoo.load(request.param, device="cpu")


def test_truncation_0_gives_every_seed_the_mean_image(model):
    same = images(model, seed=0, n=3, truncation=0.0)
    assert torch.equal(same[0], same[1])
    assert (images(model, seed=0, n=2)[0] - same[0]).abs().max() > 0.01
    coarse = images(model, seed=0, n=2, truncation=0.0, truncation_cutoff=2)
    assert not torch.equal(coarse[0], coarse[1])


def test_truncation_may_differ_from_sample_to_sample(model):
    swept = images(model, seeds=[4, 4, 4], label=1, truncation=[0.0, 0.5, 1.0])
    for psi, image in zip((0.0, 0.5, 1.0), swept, strict=True):
        assert torch.allclose(images(model, seed=4, label=1, truncation=psi)[0], image, atol=1e-5)


def test_noise_is_constant_or_random_or_absent(model):
    const, drawn, none = (images(model, seed=4, label=1, noise=kind) for kind in ("const", "random", "none"))
    assert (const - none).abs().max() > 0.01
    assert (const - drawn).abs().max() > 0.01
    assert torch.equal(drawn, images(model, seed=4, label=1, noise="random"))


def test_mixing_all_layers_is_the_other_seed(model):
    other = images(model, seed=9, label=2)
    assert torch.allclose(images(model, seed=1, label=2, mix="9:0-5"), other, atol=1e-6)
    assert torch.equal(images(model, seed=1, label=2, mix="1:2,3"), images(model, seed=1, label=2))
    fine = images(model, seed=1, label=2, mix="9:4-5")
    assert (fine - images(model, seed=1, label=2)).abs().max() > 0
    assert (fine - other).abs().max() > 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix": "9"}, "--mix 9 is not SEED:LAYERS"),
        ({"mix": "9:3-2"}, "this model has layers 0 to 5"),
        ({"mix": "9:6"}, "this model has layers 0 to 5"),
        ({"truncation_cutoff": 7}, "this model has only 6 layers"),
        ({"label": 3}, "this model has 3 classes"),
    ],
)
def test_options_that_do_not_fit_the_model_are_refused(model, options, message):
    with pytest.raises(OptionError, match=message):
        images(model, seed=0, **options)


def test_a_model_without_classes_takes_no_label(stylegan3_folder):
    with pytest.raises(OptionError, match="this model has no classes"):
        images(zoo.load(stylegan3_folder, device="cpu"), seed=0, label=1)


def test_a_mix_parses_seed_and_layers():
    assert parse_mix("7:4-6,9,5", 10) == (7, (4, 5, 6, 9))


def test_a_plain_pt_file_without_latent_avg_gets_its_own_w_avg(golden, tmp_path):
    weights = golden("stylegan2_rosinality").under("weights/")
    torch.save({"g_ema": weights}, tmp_path / "cats.pt")
    network = load_generator(Checkpoint("here", {"cats.pt": tmp_path / "cats.pt"}, ""))
    assert network.config.resolution == 32
    random = torch.Generator().manual_seed(5)
    with torch.inference_mode():
        mean = network.mapping(torch.randn(20_000, 32, generator=random)).mean(0)
    assert (network.mapping.w_avg - mean).abs().max() < 0.05 * mean.abs().max()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "stylegan4"}, "model_type is 'stylegan4'; expected one of stylegan2, stylegan3"),
        ({"resolution": 17}, "resolution is 17, which does not fit"),
        ({"resolution": 32}, "resolution is 32, which does not fit channels"),
        ({"resolution": "16"}, "resolution is '16'; expected an integer"),
        ({"architecture": "tree"}, "architecture is 'tree'; expected one of skip, resnet"),
        ({"attention": 3}, "unknown setting 'attention'"),
        ({"channels": [16, 16, 16]}, r"channels is \(16, 16, 16\), but the weights have \(16, 16, 8\)"),
    ],
)
def test_an_invalid_config_is_refused_by_name(stylegan2_folder, tmp_path, change, message):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "stylegan2", **TWO} | change))
    files = {
        "config.json": tmp_path / "config.json",
        "model.safetensors": stylegan2_folder / "model.safetensors",
    }
    with pytest.raises(WeightsError, match=message):
        load_generator(Checkpoint("here", files, ""))


@pytest.mark.parametrize(
    ("change", "clamp"), [({}, 256.0), ({"clamp": None}, None), ({"clamp": 3, "kernel": None}, 3.0)]
)
def test_a_null_setting_counts_as_left_out_unless_it_means_none(change, clamp):
    config = parse_config({"model_type": "stylegan3", **THREE} | change, "here")
    assert config == StyleGAN3Config(**THREE, clamp=clamp)


def test_a_config_of_version_0_1_is_read():
    config = {"model_type": "stylegan2", **TWO, "picture_channels": 1}
    assert parse_config(config, "here").image_channels == 1
    assert to_json(parse_config(config, "here"))["image_channels"] == 1


def test_a_pt_file_of_something_else_is_refused(tmp_path):
    torch.save({"g_ema": {"layer.weight": torch.zeros(2)}}, tmp_path / "x.pt")
    with pytest.raises(WeightsError, match="is not a StyleGAN2 in the plain"):
        load_generator(Checkpoint("here", {"x.pt": tmp_path / "x.pt"}, ""))
