"""Images: the 8-bit rule to the level, and what each format says about itself."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from made_samples import make_image, make_record, make_text
from PIL import Image

from zoo_core import OutputError, Sample
from zoo_core.samples import read_record, to_bytes
from zoo_core.samples.origin import SOURCE_TYPE

RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
IPTC = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}"


def rule(x: np.ndarray) -> np.ndarray:
    return np.clip(np.round(np.float32(127.5) * (x.astype(np.float32) + np.float32(1))), 0, 255)


@pytest.mark.parametrize(("channels", "mode"), [(1, "L"), (3, "RGB"), (4, "RGBA")])
def test_a_png_holds_exactly_what_the_rule_says(tmp_path: Path, channels: int, mode: str) -> None:
    torch.manual_seed(0)
    tensor = torch.rand(channels, 33, 17) * 2.4 - 1.2
    path = Sample(make_record(), 0, tensor=tensor).save(tmp_path / "x.png")
    with Image.open(path) as image:
        assert image.mode == mode
        assert image.size == (17, 33)
        levels = np.asarray(image).reshape(33, 17, channels)
    assert np.array_equal(levels, rule(tensor.numpy()).transpose(1, 2, 0))


def test_every_level_comes_back_as_itself() -> None:
    levels = torch.arange(256, dtype=torch.float32)
    assert np.array_equal(to_bytes((levels / 127.5 - 1).reshape(1, 16, 16)).ravel(), np.arange(256))


def test_the_tie_goes_to_the_even_level_and_the_ends_are_clamped() -> None:
    x = torch.tensor([0.0, -1.0, 1.0, -7.0, 7.0, float("inf"), -float("inf")])
    assert to_bytes(x.reshape(1, 1, -1)).ravel().tolist() == [128, 0, 255, 0, 255, 255, 0]


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_short_and_long_types_follow_the_same_rule(dtype: torch.dtype) -> None:
    x = torch.linspace(-1, 1, 101).to(dtype).reshape(1, 1, -1)
    assert np.array_equal(to_bytes(x).ravel(), rule(x.float().numpy()).ravel())


def test_a_batch_becomes_images_with_the_channels_last() -> None:
    assert to_bytes(torch.zeros(5, 3, 4, 6)).shape == (5, 4, 6, 3)
    assert to_bytes(torch.zeros(5, 1, 4, 6)).shape == (5, 4, 6)


def test_an_image_with_nan_is_an_error_not_a_black_square() -> None:
    with pytest.raises(OutputError, match="NaN") as caught:
        to_bytes(torch.tensor([[[0.0, float("nan")]]]))
    assert "--dtype float32" in caught.value.remedy


@pytest.mark.parametrize("shape", [(2, 4, 4), (4, 4), (3, 0, 4)])
def test_a_tensor_that_holds_no_image_is_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(OutputError, match="is not a batch of images"):
        to_bytes(torch.zeros(shape))


def test_a_text_has_no_image() -> None:
    with pytest.raises(OutputError, match="is a text"):
        _ = make_text().image


def test_a_png_tells_people_and_other_tools_what_it_is(tmp_path: Path) -> None:
    sample = make_image(7, prompt="ein Fuchs 🦊 \udcff")
    path = sample.save(tmp_path / "x.png")
    with Image.open(path) as image:
        texts = image.text  # type: ignore[attr-defined]
    assert texts["Software"] == "zoo-core 0.1.0"
    assert texts["Description"].startswith("test-model, seed 7, prompt 'ein Fuchs 🦊 ")
    assert texts["Description"].endswith("label 3, guidance 1.5, sampler ddim")
    assert json.loads(texts["zoo"]) == sample.record.to_json()


@pytest.mark.parametrize("suffix", [".png", ".PNG", ".jpg", ".jpeg", ".webp", ".gif", ".apng"])
@pytest.mark.parametrize("channels", [1, 3, 4])
def test_every_format_gives_its_record_back(tmp_path: Path, suffix: str, channels: int) -> None:
    sample = make_image(7, channels=channels, prompt="ein Fuchs 🦊")
    path = sample.save(tmp_path / f"x{suffix}")
    assert read_record(path) == sample.record
    with Image.open(path) as image:
        assert image.size == (8, 8)


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".gif", ".apng"])
def test_every_format_says_that_a_model_made_it(tmp_path: Path, suffix: str) -> None:
    path = make_image(7).save(tmp_path / f"x{suffix}")
    if suffix == ".gif":  # which Pillow does not look into
        packet = path.read_bytes().partition(b"\x21\xff\x0bXMP DataXMP")[2].partition(b"\x01\xff\xfe")[0]
    else:
        with Image.open(path) as image:
            image.load()
            assert image.getxmp()["xmpmeta"]["RDF"]["Description"]["DigitalSourceType"] == SOURCE_TYPE
            packet = image.info.get("xmp") or image.info["XML:com.adobe.xmp"].encode()
    (description,) = ElementTree.fromstring(packet).iter(f"{RDF}Description")
    assert description.attrib[f"{IPTC}DigitalSourceType"] == SOURCE_TYPE


def test_webp_is_lossless_and_jpeg_shows_transparency_on_white(tmp_path: Path) -> None:
    sample = make_image(channels=4)
    with Image.open(sample.save(tmp_path / "x.webp")) as webp:
        opaque = np.asarray(sample.image)[..., 3] > 0
        assert np.array_equal(np.asarray(webp)[opaque], np.asarray(sample.image)[opaque])
    clear = Sample(make_record(), 0, tensor=-torch.ones(4, 8, 8))
    with Image.open(clear.save(tmp_path / "y.jpg")) as jpeg:
        assert np.asarray(jpeg).min() == 255


def test_the_sidecar_is_named_after_the_whole_file_name(tmp_path: Path) -> None:
    make_image(1).save(tmp_path / "x.jpg")
    make_image(2).save(tmp_path / "x.webp")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["x.jpg", "x.jpg.json", "x.webp", "x.webp.json"]
    assert read_record(tmp_path / "x.jpg").seed == 1
    assert read_record(tmp_path / "x.webp.json").seed == 2


@pytest.mark.parametrize("name", ["x.bmp", "x.txt", "x.jsonl", "x.v1"])
def test_a_suffix_that_fits_no_image_says_which_do(tmp_path: Path, name: str) -> None:
    with pytest.raises(OutputError, match=r"image samples are written as \.png, \.jpg") as caught:
        make_image().save(tmp_path / name)
    assert "slash" in caught.value.remedy
    assert not list(tmp_path.iterdir())
