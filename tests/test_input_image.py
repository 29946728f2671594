"""The image that a model begins with: read once, fitted, masked, and recorded by its content."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_samples import make_record
from PIL import Image

from zoo_core import InputImage, OptionError, OutputError
from zoo_core.data.input_image import MAX_PIXELS, read_input_image
from zoo_core.samples import check_replay
from zoo_core.samples.record import Record
from zoo_core.weights.digest import digest_of_path


def test_the_middle_is_fitted_with_its_mask() -> None:
    image = Image.new("RGB", (30, 10), "black")
    image.paste("white", (10, 0, 20, 10))
    mask = Image.new("L", (30, 10), 0)
    mask.paste(255, (15, 0, 30, 10))
    fitted = InputImage(image, mask).fitted((10, 10))
    assert fitted.pixels(channels=1).shape == (1, 1, 10, 10)
    assert (fitted.pixels() == 1).all()
    anew = fitted.anew()
    assert anew is not None
    assert anew[0, 0].sum(1).tolist() == [5] * 10
    kept = fitted.pasted(torch.zeros(2, 3, 10, 10))
    assert (kept[..., :5] == 1).all()
    assert (kept[..., 5:] == 0).all()


def test_transparent_parts_are_white() -> None:
    assert (InputImage(Image.new("RGBA", (2, 2), (0, 0, 0, 0))).pixels() == 1).all()


@pytest.mark.parametrize(
    ("image", "mask", "wrong"),
    [
        ((4, 4), (4, 5), "4 × 5 pixels"),
        ((MAX_PIXELS // 1000 + 1, 1000), None, "too large"),
        (None, None, "no.png"),
    ],
)
def test_files_that_do_not_fit_are_refused(tmp_path: Path, image, mask, wrong: str) -> None:
    for name, size in (("image.png", image), ("mask.png", mask)):
        if size:
            Image.new("L", size).save(tmp_path / name)
    path = tmp_path / ("image.png" if image else "no.png")
    with pytest.raises(OptionError, match=wrong) as caught:
        read_input_image(str(path), str(tmp_path / "mask.png") if mask else None)
    assert caught.value.remedy


def test_a_file_counts_by_its_content(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"one")
    digest = digest_of_path(tmp_path / "a.png")
    assert digest is not None
    record = replace(make_record(1), options={"input": "a.png"}, files={"input": digest})
    assert Record.from_json(record.to_json()) == record
    moved = replace(record, options={"input": "elsewhere/b.png"})
    assert moved.identity == record.identity
    assert replace(record, files={"input": "0" * 64}).identity != record.identity
    check_replay(record, moved)
    for files, wrong in (({"input": "0" * 64}, "has changed"), ({}, "is missing")):
        with pytest.raises(OutputError, match=wrong):
            check_replay(record, replace(record, files=files))
    (tmp_path / "a.png").write_bytes(b"another")
    assert digest_of_path(tmp_path / "a.png") != digest
    assert len(digest_of_path(tmp_path) or "") == 64
