"""Images from prompts with a small random network: conformance, mixing, interpolation, truncation."""

from __future__ import annotations

import itertools
import json
import shlex
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image
from zoo_gigagan.text_to_image.network import MODEL_TYPE, TextToImage, TextToImageConfig

import zoo_core as zoo
from zoo_core import OptionError, WeightsError, save_checkpoint
from zoo_core.cli import cli
from zoo_core.testing import GeneratorConformance

SMALL = TextToImageConfig(
    channels=(8, 8, 8),
    vocabulary=("a", "ball", "cube", "red", "denim"),
    context=8,
    z_dim=8,
    w_dim=12,
    kernels=3,
    attention=(8, 16),
    text_width=16,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("gigagan")
    network = TextToImage(SMALL)
    for name, parameter in network.named_parameters():
        if name.endswith(("gain", "noise")):
            torch.nn.init.constant_(parameter, 0.5)  # they are 0 before training
        if "mapping.layers" in name and parameter.ndim == 2:
            parameter.data *= 100  # an untrained mapping gives styles that hardly differ
    save_checkpoint(folder, SMALL, network, torch.float32, model_type=MODEL_TYPE)
    return folder


@pytest.fixture(scope="module")
def model(folder) -> zoo.Model:
    return zoo.load(folder, device="cpu")


def draw(model, prompt, seed=0, **options):
    return next(model.generate(prompt, seed=seed, **options)).tensor


class TestGigaGAN(GeneratorConformance):
    prompt = "a red ball"

    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, folder: Path) -> zoo.Model:
        return zoo.load(folder, device="cpu")


def test_images_follow_prompt_and_noise(model):
    ball = draw(model, "a red ball")
    assert ball.shape == (3, 16, 16)
    assert not torch.equal(ball, draw(model, "a denim cube"))
    assert not torch.equal(ball, draw(model, "a red ball", seed=1))
    assert torch.equal(draw(model, ""), draw(model, None))


def test_a_mix_uses_the_second_prompt_from_a_size_on(model):
    ball, denim = draw(model, "a ball"), draw(model, "denim")
    assert torch.equal(draw(model, "a ball", mix="denim", mix_from=4), denim)
    assert torch.equal(draw(model, "a ball", mix="a ball", mix_from=8), ball)
    mixes = [draw(model, "a ball", mix="denim", mix_from=size) for size in (8, 16)]
    assert not any(torch.equal(mix, plain) for mix in mixes for plain in (ball, denim))
    # The later the second prompt comes in, the nearer the first one's image.
    assert (mixes[1] - ball).square().mean() < (mixes[0] - ball).square().mean()


def test_images_between_two_prompts(model):
    ball, denim = draw(model, "a ball"), draw(model, "denim")
    path = [draw(model, "a ball", toward="denim", share=share) for share in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert torch.allclose(path[0], ball, atol=1e-5)
    assert torch.allclose(path[-1], denim, atol=1e-5)
    steps = [float((one - other).abs().mean()) for one, other in itertools.pairwise(path)]
    assert 0 < max(steps) < float((ball - denim).abs().mean())


def test_truncation_pulls_to_the_mean_style_of_the_prompt(model):
    def diversity(truncation):
        drawn = [s.tensor for s in model.generate("a ball", n=8, seed=0, truncation=truncation)]
        return float(torch.stack(drawn).std(0).mean())

    assert diversity(0.0) < diversity(0.5) < diversity(1.0)
    plain = [draw(model, prompt, truncation=0.0) for prompt in ("a ball", "denim")]
    assert (plain[0] - plain[1]).abs().mean() > 0.01


def test_each_sample_has_its_own_share(model):
    path = list(model.generate("a ball", seeds=[3, 3, 3], toward="denim", share=[0.0, 0.5, 1.0]))
    assert torch.equal(path[1].tensor, draw(model, "a ball", seed=3, toward="denim", share=0.5))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mix": "denim", "mix_from": 12}, "--mix-from is 12"),
        ({"mix": "denim " * 9}, "has 9 words"),
        ({"toward": "a " * 10_000}, "has 10,000 words"),
    ],
)
def test_options_that_do_not_fit_are_refused(model, options, message):
    with pytest.raises(OptionError, match=message) as caught:
        draw(model, "a ball", **options)
    assert caught.value.remedy


def test_mix_prompts_writes_a_grid(folder, model, tmp_path):
    path = tmp_path / "table.png"
    command = ["mix-prompts", str(folder), "a ball", "a cube", "--mix", "denim", "--mix", "red"]
    command += ["--mix-from", "8", "--seed", "3", "-o", str(path)]
    result = CliRunner().invoke(cli, command, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    with Image.open(path) as table:
        assert table.size == (4 + 3 * 132, 4 + 2 * (132 + 14))
        cell = table.crop((4 + 132, 4 + 146, 132 + 132, 146 + 132)).resize((16, 16), Image.Resampling.NEAREST)
    (sample,) = model.generate("a cube", seed=3, mix="denim", mix_from=8)
    assert cell.tobytes() == sample.image.tobytes()
    assert CliRunner().invoke(cli, command).exit_code == 1  # it is there already
    replayed = CliRunner().invoke(cli, ["replay", str(path)]).exception
    words = shlex.join(["zoo", *command]).replace(" -o ", " --device auto --output ")
    assert replayed.remedy == f"Run again: {words}"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"channels": [8]}, "channels"),
        ({"channels": [8] * 20}, "channels"),
        ({"channels": [8, -8, 8]}, "channels"),
        ({"heads": 3}, "heads"),
        ({"attention": [7]}, "attention"),
        ({"vocabulary": ["a" * 1000]}, "vocabulary"),
        ({"vocabulary": [1]}, "vocabulary"),
        ({"z_dim": 1 << 30}, "z_dim"),
        ({"depth": 3}, "depth"),
        ({"channels": None}, "channels"),
        ({"z_dim": 9}, "z_dim|mapping"),
        ({"clip": {"hidden_act": "relu"}}, "hidden_act"),
        ({"clip": {"layers": 3}}, "unknown setting 'layers'"),
    ],
)
def test_unsupported_configs_are_refused(folder, tmp_path, change, message):
    config = json.loads((folder / "config.json").read_text()) | change
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    with pytest.raises(WeightsError, match=message) as caught:
        zoo.load(tmp_path, device="cpu")
    assert caught.value.remedy
