"""The tool that writes emoji with captions, and the judge of generated ones."""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from PIL import Image, ImageDraw

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tools"))

from emoji import judge  # noqa: E402
from emoji.data import KINDS, Emoji, main, main_colour, split, wordings  # noqa: E402

CAT = Emoji("1.png", "cat face", "animal", "yellow", ("cat",), ("meow", "pet", "kitten"))


def disc(colour: str, ground: str | None = None) -> Image.Image:
    image = Image.new("RGBA", (64, 64), ground or (0, 0, 0, 0))
    ImageDraw.Draw(image).ellipse((8, 8, 56, 56), fill=colour)
    return image


@pytest.fixture
def packages(tmp_path) -> tuple[Path, Path]:
    """Two emoji and a swatch of skin, as the npm packages hold them, and a variant of skin tone."""
    google, lib = tmp_path / "google", tmp_path / "lib"
    (google / "img" / "google" / "64").mkdir(parents=True)
    (lib / "dist").mkdir(parents=True)
    entries = [
        {"name": "CAT FACE", "unified": "1F431", "short_names": ["cat"], "category": "Animals & Nature"},
        {"name": "Japan Flag", "unified": "1F1EF-1F1F5", "short_names": ["flag-jp"], "category": "Flags"},
        {"name": "MODIFIER", "unified": "1F3FB", "short_names": ["skin-tone-2"], "category": "Component"},
    ]
    for entry, colour in zip(entries, ("orange", "red", "tan"), strict=True):
        entry |= {"image": entry["unified"].lower() + ".png", "has_img_google": True}
        disc(colour).save(google / "img" / "google" / "64" / entry["image"])
    disc("brown").save(google / "img" / "google" / "64" / "1f44b-1f3ff.png")
    (google / "emoji.json").write_text(json.dumps(entries))
    words = {"🐱": ["cat_face", "meow", "pet"], "🇯🇵": ["flag_japan", "jp", "nation"]}
    (lib / "dist" / "emoji-en-US.json").write_text(json.dumps(words))
    return google, lib


def test_a_folder_has_every_image_and_several_wordings_of_each_emoji(packages, tmp_path):
    arguments = [*map(str, packages), str(tmp_path / "made")]
    result = CliRunner().invoke(main, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    learned, held_out = (
        [json.loads(line) for line in (tmp_path / "made" / name).read_text().splitlines()]
        for name in ("metadata.jsonl", "held-out.jsonl")
    )
    assert {line["name"] for line in learned} == {"cat face", "flag of japan"}
    assert Counter(line["name"] for line in held_out) == {"cat face": 2, "flag of japan": 2}
    assert not {line["text"] for line in learned} & {line["text"] for line in held_out}
    assert len(list((tmp_path / "made").glob("*.png"))) == 4
    image = Image.open(tmp_path / "made" / "1f431.png")
    assert (image.mode, image.getpixel((0, 0))) == ("RGB", (255, 255, 255))


def test_wordings_begin_with_the_plain_name():
    texts = wordings(CAT)
    assert texts[0] == "cat face"
    assert {"a cat face", "yellow cat face", "cat", "cat face, animal"} <= set(texts)
    assert len(set(texts)) == len(texts)


def test_a_wording_that_two_emoji_have_is_not_held_out():
    texts = wordings(CAT)
    taken = Counter(dict.fromkeys(texts, 2)) | Counter({"cat": 1})
    learned, held_out = split(texts, taken | {"cat": 1}, "seed")
    assert held_out == ["cat"]
    assert learned == [text for text in texts if text != "cat"]


@pytest.mark.parametrize("colour", ["red", "yellow", "green", "blue", "purple", "black"])
def test_the_main_colour_is_that_of_most_of_the_image(colour):
    shown = {"green": "#559a3c", "purple": "#9146af"}.get(colour, colour)
    image = disc(shown, "white").convert("RGB")
    ImageDraw.Draw(image).rectangle((28, 28, 36, 36), fill="saddlebrown")
    assert main_colour(image) == colour


def test_an_augmented_image_keeps_its_white_ground():
    torch.manual_seed(0)
    images = judge.as_tensor(disc("red", "white")).expand(8, -1, -1, -1)
    moved = judge.augmented(images)
    assert moved.shape == images.shape
    assert float((moved[:, :, 0, 0] - 1).abs().mean()) < 0.1
    assert not torch.allclose(moved, images, atol=0.2)


def test_copies_are_told_by_the_nearest_image():
    known = torch.stack([judge.as_tensor(disc(colour, "white")) for colour in ("red", "green", "blue")])
    asked = [{"file_name": name} for name in ("b", "c", "a")]
    text = judge.copies(known[[1, 2, 1]] + 0.02, known, ["a", "b", "c"], asked)
    assert "the one meant in 66.7%; median distance 0.010" in text


def test_the_judge_reads_what_it_was_trained_on():
    classifier = judge.load()
    cat = judge.as_tensor(disc("gold", "white"))
    assert len(classifier.answers) == 2
    assert classifier.answers[0] == len(KINDS)
    ((_, colour),) = classifier.read(cat[None])
    assert judge.COLOUR_NAMES[colour] == "yellow"
