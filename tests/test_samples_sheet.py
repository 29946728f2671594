"""Contact sheets: nearly square, evenly spaced, and every sample on them can be cut out and made again."""

from __future__ import annotations

import math
from itertools import pairwise
from pathlib import Path

import numpy as np
import psutil
import pytest
from made_samples import make_image
from PIL import Image

from zoo_core import OutputError
from zoo_core.samples import ContactSheet, compare, open_output, read_record
from zoo_core.samples.sheet import MAX_PIXELS, Layout


@pytest.mark.parametrize("count", [1, 2, 3, 7, 16, 17, 100, 1000])
@pytest.mark.parametrize("size", [(28, 28), (64, 32), (32, 64), (256, 256), (1, 1)])
@pytest.mark.parametrize("captions", [False, True])
def test_any_count_is_laid_out_evenly_without_overlap(
    count: int, size: tuple[int, int], captions: bool
) -> None:
    layout = Layout.of(count, size, captions=captions)
    covered = np.zeros(layout.size[::-1], bool)
    for position in range(count):
        x, y = layout.corner(position)
        cell = covered[y : y + layout.height, x : x + layout.width]
        assert cell.shape == (layout.height, layout.width)
        assert not cell.any()
        cell[:] = True
    columns, rows = covered.any(0), covered.any(1)
    for line, between in ((columns, layout.margin), (rows, layout.margin + layout.caption)):
        edges = np.flatnonzero(np.diff(line.astype(int))) + 1
        gaps = {int(b - a) for a, b in pairwise(edges[1:])} - {layout.width, layout.height}
        assert gaps <= {between}
        assert edges[0] == layout.margin
        assert len(line) - edges[-1] == between
    if count >= 16:
        assert 0.5 < layout.size[0] / layout.size[1] < 2


def test_small_images_are_enlarged_by_a_whole_number() -> None:
    assert Layout.of(4, (28, 28), captions=False).zoom == 3
    assert Layout.of(4, (64, 64), captions=False).zoom == 1


def test_a_sheet_that_nothing_could_open_is_refused_before_it_is_made() -> None:
    with pytest.raises(OutputError, match="would have") as caught:
        Layout.of(1000, (1024, 1024), captions=False)
    assert "folder" in caught.value.remedy
    assert math.prod(Layout.of(64, (1024, 1024), captions=False).size) <= MAX_PIXELS


@pytest.mark.parametrize("channels", [1, 3, 4])
@pytest.mark.parametrize("caption", [None, "seed", "prompt", "label", "why"])
def test_every_sample_of_a_sheet_can_be_cut_out_exactly(
    tmp_path: Path, channels: int, caption: str | None
) -> None:
    samples = [
        make_image(
            seed, channels=channels, size=(28, 20), prompt="a long prompt 🦊 " * 9, metadata={"why": "x"}
        )
        for seed in range(11)
    ]
    path = tmp_path / "sheet.png"
    with open_output(path, kind="image", count=11, caption=caption) as sheet:
        for sample in samples:
            assert sheet.write(sample) == path
    for number, sample in enumerate(samples, 1):
        assert read_record(f"{path}:{number}") == sample.record
        assert compare(f"{path}:{number}", sample).verdict == "identical"
        assert compare(f"{path}:{number}", samples[number % 11]).verdict == "different"
    with pytest.raises(OutputError, match="holds 11 samples") as caught:
        read_record(path)
    assert "sheet.png:1" in caught.value.remedy
    with pytest.raises(OutputError, match="has no sample 12"):
        read_record(f"{path}:12")


def test_captions_stay_in_their_strip_and_are_written() -> None:
    plain, written = ContactSheet(3, captions=True), ContactSheet(3, captions=True)
    for seed in range(3):
        plain.paste(make_image(seed).image)
        written.paste(make_image(seed).image, "a caption much wider than its cell")
    layout = plain.layout
    assert layout
    differing = (np.asarray(plain.image) != np.asarray(written.image)).any(-1)
    for position in range(3):
        x, y = layout.corner(position)
        strip = differing[y + layout.height :, x : x + layout.width][: layout.caption]
        assert strip.any()
        strip[:] = False
    assert not differing.any()


def test_a_caption_that_no_sample_has_names_those_they_have(tmp_path: Path) -> None:
    sheet = open_output(tmp_path / "x.png", kind="image", count=2, caption="colour")
    with pytest.raises(OutputError, match="no field 'colour'") as caught:
        sheet.write(make_image())
    assert caught.value.remedy == "Choose from: guidance, label, prompt, sampler, seed."


@pytest.mark.parametrize("other", [make_image(1, size=(8, 9)), make_image(1, channels=1)])
def test_images_that_differ_make_no_sheet(other: object) -> None:
    sheet = ContactSheet(2)
    sheet.paste(make_image(0).image)
    with pytest.raises(OutputError, match="differ in size or channels"):
        sheet.paste(other.image)  # type: ignore[attr-defined]


def test_an_empty_sheet_is_an_error() -> None:
    with pytest.raises(OutputError, match="has no images"):
        _ = ContactSheet(3).image


def test_an_interrupted_sheet_is_not_written(tmp_path: Path) -> None:
    def interrupted() -> None:
        with open_output(tmp_path / "x.png", kind="image", count=2) as sheet:
            sheet.write(make_image())
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_a_sheet_says_what_it_is_to_other_tools(tmp_path: Path) -> None:
    with open_output(tmp_path / "x.png", kind="image", count=4) as sheet:
        for seed in range(4):
            sheet.write(make_image(seed))
    with Image.open(tmp_path / "x.png") as image:
        texts = image.text  # type: ignore[attr-defined]
    assert texts["Description"].startswith("Contact sheet of 4 samples: test-model, seed 0")
    assert texts["Software"] == "zoo-core 0.1.0"


def test_a_sheet_of_a_thousand_takes_the_memory_of_the_sheet(tmp_path: Path) -> None:
    samples = [make_image(seed, size=(64, 64)) for seed in range(10)]
    sheet = ContactSheet(1000)
    sheet.paste(samples[0].image)
    before = psutil.Process().memory_info().rss
    for position in range(1, 1000):
        sheet.paste(samples[position % 10].image)
    size = math.prod(sheet.image.size) * 4  # Pillow keeps four bytes a pixel
    assert psutil.Process().memory_info().rss - before < size + 4_000_000
