"""Draw, complete and score images through zoo_core.load()."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from PIL import Image
from zoo_gpt.imagegpt.palette import ColorPalette

import zoo_core as zoo
from zoo_core import Noise, OptionError, WeightsError
from zoo_core.testing import GeneratorConformance

SIDE = 6
COLOURS = 20


@pytest.fixture(scope="module")
def model(imagegpt_folder):
    return zoo.load(imagegpt_folder, device="cpu")


class TestConformance(GeneratorConformance):
    @pytest.fixture(scope="class")
    @classmethod
    def subject(cls, imagegpt_folder: Path) -> zoo.Model:
        return zoo.load(imagegpt_folder, device="cpu")


def test_the_palette_matches_the_golden_case(golden):
    case = golden("imagegpt")
    palette = ColorPalette(case["inputs/clusters"], 8)
    images = case["inputs/image_uint8"].permute(0, 3, 1, 2) / 127.5 - 1
    codes = palette.encode(images)
    assert torch.equal(codes, case["outputs/pixel_ids"])
    pixels = (127.5 * (palette.decode(codes) + 1)).round().to(torch.uint8).permute(0, 2, 3, 1)
    assert torch.equal(pixels, case["outputs/dequantised_uint8"])


def test_images_have_only_colours_of_the_palette(model):
    (sample,) = model.generate(seed=0)
    colours = {tuple(pixel) for pixel in sample.tensor.permute(1, 2, 0).flatten(0, 1).tolist()}
    assert colours <= {tuple(colour) for colour in model.generator.palette.clusters.tolist()}
    assert len(colours) > 3


def test_an_image_is_the_same_alone_and_among_64(imagegpt_folder):
    half = zoo.load(imagegpt_folder, device="cpu", dtype="float16")
    together, alone = (list(half.generate(n=64, seed=0, batch_size=size)) for size in (64, 1))
    assert all(torch.equal(one.tensor, other.tensor) for one, other in zip(together, alone, strict=True))


def test_the_upper_part_of_an_image_is_kept(model, tmp_path):
    (drawn,) = model.generate(seed=1)
    path = tmp_path / "drawn.png"
    drawn.save(path)
    (completed,) = model.generate(seed=2, input=str(path), keep=0.5)
    assert torch.allclose(completed.tensor[:, : SIDE // 2], drawn.tensor[:, : SIDE // 2], atol=0.01)
    assert not torch.equal(completed.tensor[:, SIDE // 2 :], drawn.tensor[:, SIDE // 2 :])


def test_the_image_grows_row_by_row(model):
    (sample,) = model.generate(seed=0, keep_frames=True)
    assert len(sample.frames) == SIDE - 1
    grey = [(frame == 128).all(axis=-1).sum() for frame in sample.frames]
    assert grey == sorted(grey, reverse=True)


def test_the_probabilities_of_all_values_of_a_pixel_sum_to_one(model):
    palette = model.generator.palette
    codes = torch.zeros(COLOURS, SIDE**2, dtype=torch.long)
    codes[:, -1] = torch.arange(COLOURS)
    images = (127.5 * (palette.decode(codes) + 1)).round().to(torch.uint8)
    nats = model.generator.log_likelihood(images, Noise(range(COLOURS))).nats
    prefix = model.generator.transformer
    given = torch.tensor([[model.generator.start, *codes[0, :-1].tolist()]])
    before = prefix(given[:, :-1]).log_softmax(-1).gather(2, given[:, 1:, None]).double().sum()
    assert float((nats - before).exp().sum()) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("content", [b"", b"no image", b"\x89PNG\r\n\x1a\n broken"])
def test_an_input_that_is_not_an_image_is_refused(model, tmp_path, content):
    path = tmp_path / "photo.png"
    path.write_bytes(content)
    with pytest.raises(OptionError, match="cannot be read as an image"):
        list(model.generate(seed=0, input=str(path)))


def test_keeping_the_whole_input_is_refused(model, tmp_path):
    Image.new("RGB", (9, 9)).save(tmp_path / "black.png")
    with pytest.raises(OptionError, match="keeps the whole input"):
        list(model.generate(seed=0, input=str(tmp_path / "black.png"), keep=1.0))


def test_an_invalid_palette_is_refused(imagegpt_folder, tmp_path):
    folder = shutil.copytree(imagegpt_folder, tmp_path / "copy")
    (folder / "preprocessor_config.json").write_text('{"clusters": [[1, "red"]]}')
    with pytest.raises(WeightsError, match="list of colours"):
        zoo.load(folder)
