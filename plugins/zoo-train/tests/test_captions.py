"""Captioned images: the formats of a folder, and the content of a batch."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from PIL import Image
from zoo_train.captions import open_captioned
from zoo_train.data import DataError, View

from zoo_core import PluginError, ZooError

COLOURS = {"red": (255, 0, 0), "green": (0, 255, 0), "blue": (0, 0, 255)}


def folder_of(folder: Path, lines: list[object], size=(8, 8)) -> Path:
    for colour, values in COLOURS.items():
        (folder / "images").mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, values).save(folder / "images" / f"{colour}.png")
    told = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines)
    (folder / "metadata.jsonl").write_text(told + "\n", encoding="utf-8")
    return folder


def line(colour: str, **more: object) -> dict[str, object]:
    return {"file_name": f"images/{colour}.png", "text": f"a {colour} square", **more}


class Reader(SimpleNamespace):
    networks: dict = {}

    def losses(self, *_): ...

    def save(self, *_): ...

    def encode_caption(self, caption: str) -> list[int]:
        return [len(caption), ord(caption[2])]


def test_images_come_with_their_captions(tmp_path):
    data = open_captioned(folder_of(tmp_path, [line(colour, more=1) for colour in COLOURS]), View())
    assert data.training_data.shape == (3, 8, 8)
    assert data.training_data.count == 3
    assert data.training_data.texts == ("a red square", "a green square", "a blue square")
    items = data.items(Reader())
    batch = items.collate([items[2, False], items[0, True]])
    assert batch["captions"].tolist() == [[13, ord("b")], [12, ord("r")]]
    assert batch["captions"].dtype == torch.int64
    assert batch["images"][:, :, 0, 0].tolist() == [[-1, -1, 1], [1, -1, -1]]


def test_captions_may_have_halves(tmp_path):
    lines = [line(colour, halves=["a square", colour]) for colour in COLOURS]
    data = open_captioned(folder_of(tmp_path / "told", lines), View())
    assert data.training_data.texts[3:5] == ("a square", "red")
    items = data.items(Reader())
    batch = items.collate([items[2, False], items[0, True]])
    assert batch["captions"].tolist() == [[13, ord("b")], [12, ord("r")]]
    assert batch["halves"].tolist() == [[[8, ord("s")], [4, ord("u")]], [[8, ord("s")], [3, ord("d")]]]
    untold = open_captioned(folder_of(tmp_path / "untold", [line(colour) for colour in COLOURS]), View())
    assert untold.digest != data.digest


@pytest.mark.parametrize(
    ("halves", "wrong"),
    [
        (("a square", "red", "large"), "Line 2 of .* has halves that are not a list of two texts"),
        ((3, 4), "Line 2 of .* has halves that are not a list of two texts"),
        (None, "Line 2 of .* has no halves, unlike the lines"),
    ],
)
def test_halves_are_two_texts_of_every_line(tmp_path, halves, wrong):
    lines = [line("red", halves=["a square", "red"]), line("green", halves=halves)]
    with pytest.raises(DataError, match=wrong):
        open_captioned(folder_of(tmp_path, lines), View())


def test_a_caption_may_hold_any_sign(tmp_path):
    text = "a\u2028b\x85c"
    raw = json.dumps(line("red", text=text), ensure_ascii=False)
    assert open_captioned(folder_of(tmp_path, [raw]), View()).captions == (text,)


def test_images_are_brought_to_one_size(tmp_path):
    data = open_captioned(folder_of(tmp_path, [line("red")], size=(20, 12)), View(size=4))
    assert data.training_data.shape == (3, 4, 4)


def test_the_digest_changes_with_a_caption(tmp_path):
    one = open_captioned(folder_of(tmp_path / "a", [line("red"), line("blue")]), View()).digest
    same = open_captioned(folder_of(tmp_path / "b", [line("red"), line("blue")]), View()).digest
    other = open_captioned(folder_of(tmp_path / "c", [line("red"), line("blue", text="x")]), View()).digest
    assert one == same != other


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([], "is empty"),
        (["{"], "Line 1 of .* has no file_name and text"),
        ([line("red"), ["a", "b"]], "Line 2 of .* has no file_name and text"),
        ([{"file_name": "images/red.png"}], "has no file_name and text"),
        ([line("red", text=3)], "has no file_name and text"),
        ([line("red", file_name="../red.png")], "outside the folder"),
        ([line("red", file_name="/etc/hostname")], "outside the folder"),
        ([line("violet")], "names images/violet.png, which does not exist"),
        ([line("red", file_name="metadata.jsonl")], "cannot be read as an image"),
    ],
)
def test_lines_that_cannot_be_learned_from_are_named(tmp_path, lines, message):
    with pytest.raises(ZooError, match=message) as caught:
        open_captioned(folder_of(tmp_path, lines), View())
    assert caught.value.remedy


def test_a_folder_without_captions_is_refused(tmp_path):
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"no metadata\.jsonl"):
        open_captioned(tmp_path, View())


def test_a_trainable_that_reads_no_captions_is_the_plugins_fault(tmp_path):
    data = open_captioned(folder_of(tmp_path, [line("red")]), View())
    with pytest.raises(PluginError, match="has no encode_caption"):
        data.items(SimpleNamespace(networks={}, losses=None, save=None))


def test_a_byte_order_mark_is_no_part_of_the_first_line(tmp_path):
    folder_of(tmp_path, [line("red"), line("blue")])
    file = tmp_path / "metadata.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes().replace(b"\n", b"\r\n"))
    assert open_captioned(tmp_path, View()).training_data.texts == ("a red square", "a blue square")
