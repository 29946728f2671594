"""zoo run on a small random upsampler: conformance, images of every kind, a checkpoint from the Hub."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from zoo_gigagan.upsampler.network import Upsampler, UpsamplerConfig

import zoo_core as zoo
from zoo_core import HubWeights, ModelCard, OptionError, WeightsFile, save_weights
from zoo_core.catalog import Catalog
from zoo_core.data.upscaling import MAX_PIXELS
from zoo_core.testing import GeneratorConformance
from zoo_core.testing.fixtures import isolated_home, loopback_hub

pytestmark = pytest.mark.slow

__all__ = ["isolated_home", "loopback_hub"]

SMALL = {
    "style_network": {"dim_in": 128, "dim_out": 16, "depth": 2},
    "dim": 4,
    "image_size": 32,
    "input_image_size": 8,
    "unconditional": True,
    "up_dim_mults": [1, 2, 4],
    "down_dim_mults": [4],
    "full_attn": [False, True, True],
    "attn_depths": [1, 1, 1],
    "mid_attn_depth": 1,
    "self_attn_dim_head": 8,
    "self_attn_heads": 2,
    "num_conv_kernels": 2,
}


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("upsampler")
    network = Upsampler(UpsamplerConfig.read(SMALL, "test"))
    save_weights(folder / "model.safetensors", network.state_dict())
    (folder / "config.json").write_text(json.dumps(SMALL))
    return folder


@pytest.fixture(scope="session")
def model(folder) -> zoo.Model:
    return model_of(folder)


def model_of(folder: Path) -> zoo.Model:
    from zoo_core import LocalWeights

    files = ("config.json", "model.safetensors")
    return zoo.load(card(LocalWeights(folder, files)), device="cpu")


def test_a_folder_as_published_is_recognised(folder):
    assert "model_type" not in SMALL
    assert zoo.load(folder, device="cpu").card.summary == "A GigaGAN upsampler in the layout of fal/AuraSR"


def card(weights) -> ModelCard:
    return ModelCard(
        id="small",
        plugin="zoo-gigagan",
        summary="A test",
        family="gan",
        output="image",
        license="mit",
        weights=weights,
        capabilities=("edit",),
        options=Catalog.read().models["aura-sr-v2"].options,
    )


def image(path: Path, size=(13, 9), mode="RGB") -> str:
    random = torch.Generator().manual_seed(1)
    channels = len(mode)
    values = torch.randint(0, 256, (size[1], size[0], channels), generator=random, dtype=torch.uint8).numpy()
    Image.fromarray(values[:, :, 0] if channels == 1 else values).save(path)
    return str(path)


@pytest.fixture(scope="session")
def given(tmp_path_factory) -> str:
    return image(tmp_path_factory.mktemp("given") / "given.png")


class TestUpsampler(GeneratorConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, folder: Path) -> zoo.Model:
        return model_of(folder)

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def its_options(cls, given: str) -> None:
        cls.options = {"input": given}


@pytest.mark.parametrize(
    ("size", "mode", "channels"),
    [((13, 9), "RGB", 3), ((8, 8), "RGBA", 4), ((1, 1), "L", 3), ((900, 1), "RGB", 3), ((3, 21), "L", 3)],
)
@pytest.mark.parametrize("overlap", [False, True])
def test_images_of_every_size_and_mode_are_upscaled(model, tmp_path, size, mode, channels, overlap):
    path = image(tmp_path / "x.png", size, mode)
    (sample,) = model.generate(seed=0, input=path, overlap=overlap)
    assert sample.tensor.shape == (channels, 4 * size[1], 4 * size[0])
    assert sample.tensor.abs().max() <= 1


def test_alpha_is_upscaled_too(model, tmp_path):
    half = Image.new("RGBA", (8, 8), (255, 0, 0, 255))
    half.paste((0, 0, 0, 0), (0, 0, 4, 8))
    half.save(tmp_path / "half.png")
    (sample,) = model.generate(seed=0, input=str(tmp_path / "half.png"))
    alpha = sample.tensor[3]
    assert (alpha[:, :12] < -0.9).all()
    assert (alpha[:, 20:] > 0.9).all()


def test_each_sample_has_its_own_style_and_noise(model, given):
    one, other, still = (
        next(model.generate(seed=seed, input=given, noise=noise)).tensor
        for seed, noise in ((0, True), (1, True), (0, False))
    )
    assert not torch.equal(one, other)
    assert not torch.equal(one, still)
    assert torch.equal(still, next(model.generate(seed=0, input=given, noise=False)).tensor)


def test_progress_counts_tiles(model, given):
    seen = []
    requests = model.plan(n=2, seed=0, input=given, overlap=True)
    list(model.make(requests, batch_size=2, on_step=lambda told: seen.append(told.step)))
    steps = [step.index for step in seen]
    assert steps == sorted(set(steps))
    assert {step.total for step in seen} == {steps[-1]}
    assert steps == [4, 8, 12, 13, 17, 21, 25, 26]  # 4 and 9 tiles an image, 4 at once


@pytest.mark.parametrize("name", ["none", "missing.png", "text.png", "cut.png", "animated.gif", "huge.png"])
def test_inputs_that_cannot_be_upscaled_are_refused(model, tmp_path, name):
    path = tmp_path / name
    if name == "text.png":
        path.write_text("no image")
    elif name == "cut.png":
        image(path, (64, 64))
        path.write_bytes(path.read_bytes()[:400])
    elif name == "animated.gif":
        frames = [Image.new("RGB", (4, 4), colour) for colour in ("red", "blue")]
        frames[0].save(path, save_all=True, append_images=frames[1:])
    elif name == "huge.png":
        Image.new("L", (MAX_PIXELS // 1000 + 1, 1000)).save(path)
    with pytest.raises(OptionError) as caught:
        list(model.generate(seed=0, input=None if name == "none" else str(path)))
    assert caught.value.remedy


def test_the_checkpoint_comes_from_the_hub(folder, loopback_hub, given, model):
    files = {name: (folder / name).read_bytes() for name in ("config.json", "model.safetensors")}
    commit = loopback_hub.add("fal/AuraSR-v2", files)
    pulled = zoo.load(card(HubWeights("fal/AuraSR-v2", commit, tuple(map(WeightsFile, files)))), device="cpu")
    assert torch.equal(
        next(pulled.generate(seed=3, input=given)).tensor, next(model.generate(seed=3, input=given)).tensor
    )
