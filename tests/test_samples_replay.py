"""Replay: finding the record, saying what has changed, and judging the sample made again."""

from __future__ import annotations

import struct
import zlib
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from made_samples import make_image, make_record, make_text
from PIL import Image

from zoo_core import OutputError, Sample
from zoo_core.samples import JsonLines, check_replay, compare, read_record


def moved_by(sample: Sample, levels: int) -> Sample:
    """The sample with one pixel that many levels away."""
    assert sample.tensor is not None
    image = sample.tensor.clone() * 0.5
    before = Sample(sample.record, 0, tensor=image)
    after = Sample(sample.record, 0, tensor=image.clone())
    assert after.tensor is not None
    after.tensor[0, 2, 3] += levels / 127.5
    assert before.image.size == after.image.size
    return after


def still(sample: Sample) -> Sample:
    return moved_by(sample, 0)


@pytest.mark.parametrize("suffix", [".png", ".webp", ".apng"])
@pytest.mark.parametrize(
    ("levels", "verdict"), [(0, "identical"), (1, "rounding"), (2, "different"), (90, "different")]
)
def test_images_are_judged_by_their_largest_difference(
    tmp_path: Path, suffix: str, levels: int, verdict: str
) -> None:
    path = still(make_image(7)).save(tmp_path / f"x{suffix}")
    match = compare(path, moved_by(make_image(7), levels))
    assert (match.verdict, match.levels) == (verdict, levels)
    assert levels == 0 or f"{levels} of 255" in match.sentence


@pytest.mark.parametrize("suffix", [".jpg", ".gif"])
def test_what_a_format_loses_is_lost_on_both_sides(tmp_path: Path, suffix: str) -> None:
    sample = make_image(7, size=(64, 64))
    path = sample.save(tmp_path / f"x{suffix}")
    assert compare(path, sample).verdict == "identical"
    assert compare(path, make_image(8, size=(64, 64))).verdict == "different"


def test_an_image_of_another_size_is_different(tmp_path: Path) -> None:
    path = make_image(7).save(tmp_path / "x.png")
    match = compare(path, make_image(7, size=(8, 9)))
    assert (match.verdict, match.sentence) == ("different", "The images differ in size.")


def test_an_optimised_copy_still_is_the_same_image(tmp_path: Path) -> None:
    """Optimisers turn grey colours into mode L, or colours into a palette, and keep the notes."""
    grey = torch.linspace(-1, 1, 64).reshape(1, 8, 8).expand(3, 8, 8)
    sample = Sample(make_record(7), 0, tensor=grey)
    with Image.open(sample.save(tmp_path / "x.png")) as image:
        from PIL.PngImagePlugin import PngInfo

        notes = PngInfo()
        notes.add_itxt("zoo", image.text["zoo"], zip=True)  # type: ignore[attr-defined]
        for mode in ("L", "P"):
            image.convert(mode).save(tmp_path / f"{mode}.png", pnginfo=notes)
    for mode in ("L", "P"):
        assert read_record(tmp_path / f"{mode}.png") == sample.record
    assert compare(tmp_path / "L.png", sample).verdict == "identical"


@pytest.mark.parametrize(
    ("new", "verdict", "sentence"),
    [
        ("Es war einmal 🦊 ein\n", "identical", "The text is the same."),
        ("Es war einmal 🦊 kein\n", "different", "The texts differ from character 17 on."),
        ("Es war", "different", "The texts differ from character 7 on."),
        ("", "different", "The texts differ from character 1 on."),
    ],
)
def test_texts_are_judged_by_their_first_difference(
    tmp_path: Path, new: str, verdict: str, sentence: str
) -> None:
    old = make_text(7, "Es war einmal 🦊 ein\n")
    with JsonLines(tmp_path / "x.jsonl") as lines:
        lines.write(make_text(6))
        lines.write(old)
    for target in (old.save(tmp_path / "x.txt"), f"{tmp_path}/x.jsonl:2"):
        match = compare(target, make_text(7, new))
        assert (match.verdict, match.sentence, match.levels) == (verdict, sentence, None)


def test_a_text_far_longer_than_the_new_one_is_not_read_whole(tmp_path: Path) -> None:
    path = make_text(7, "short").save(tmp_path / "x.txt")
    with path.open("r+b") as file:
        file.truncate(2**40)  # a hole: a terabyte that takes no disk
    assert compare(path, make_text(7, "short")).verdict == "different"


def test_a_file_whose_name_looks_like_a_number_is_found(tmp_path: Path) -> None:
    path = make_image(7).save(tmp_path / "a:3.png")
    odd = path.rename(tmp_path / "x.png:2")
    assert read_record(odd).seed == 7
    make_image(8).save(tmp_path / "y.png")
    assert read_record(f"{tmp_path}/y.png:1").seed == 8


def test_the_same_checkpoint_and_versions_need_no_words() -> None:
    assert check_replay(make_record(7), make_record(7, metadata={"x": 1})) == ()


def test_what_may_move_the_result_is_listed() -> None:
    now = make_record(
        versions={"zoo-core": "0.1.0", "torch": "3.0"},
        device="cuda",
        dtype="bfloat16",
        options={**make_record().options, "eta": 0.0},
    )
    assert check_replay(make_record(), now) == (
        "zoo-test was 1.0 and is not installed",
        "torch was 2.13.0 and is 3.0",
        "the device was cpu and is cuda",
        "the dtype was float32 and is bfloat16",
        "the option eta is new and is 0.0",
    )


def test_other_weights_are_an_error_that_names_both() -> None:
    now = make_record(checkpoint={"source": "hf:a/b@c", "digest": "sha256:ffff"})
    with pytest.raises(
        OutputError, match=r"zoo-test 1\.0 weights \(sha256:0123.*hf:a/b@c \(sha256:ffff\)"
    ) as caught:
        check_replay(make_record(), now)
    assert caught.value.remedy == "Put back the files it was made with: zoo-test 1.0 weights"


def test_another_plugin_is_an_error_that_names_both() -> None:
    with pytest.raises(OutputError, match=r"made by zoo-test; test-model now belongs to zoo-b") as caught:
        check_replay(make_record(), replace(make_record(), plugin="zoo-b"))
    assert "zoo install zoo-test" in caught.value.remedy


def save_with_pillow(path: Path) -> None:
    Image.new("RGB", (4, 4)).save(path)


def test_an_image_that_zoo_did_not_write_says_so(tmp_path: Path) -> None:
    for name in ("x.png", "x.gif", "x.jpg", "x.webp"):
        save_with_pillow(tmp_path / name)
        with pytest.raises(OutputError, match="has no record of how it was made") as caught:
            read_record(tmp_path / name)
        assert "other commands write no record" in caught.value.remedy


def test_an_image_that_an_editor_stripped_says_so(tmp_path: Path) -> None:
    path = make_image(7).save(tmp_path / "x.png")
    with Image.open(path) as image:
        image.save(tmp_path / "y.png")
    with pytest.raises(OutputError, match="has no record of how it was made"):
        read_record(tmp_path / "y.png")


def test_missing_files_and_folders_say_so(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="There is no file"):
        read_record(tmp_path / "none.png")
    with pytest.raises(OutputError, match="There is no file"):
        read_record(f"{tmp_path}/none.png:3")
    with pytest.raises(OutputError, match="is a folder"):
        read_record(tmp_path)


def test_a_file_edited_after_its_sidecar_was_written_says_so(tmp_path: Path) -> None:
    path = make_text(7).save(tmp_path / "x.txt")
    path.write_text("I improved it")
    with pytest.raises(OutputError, match=r"not match the hash in x\.txt\.json") as caught:
        read_record(path)
    assert "changed" in caught.value.remedy


def test_a_sheet_whose_layout_does_not_fit_its_image_says_so(tmp_path: Path) -> None:
    from zoo_core.samples import open_output

    path = tmp_path / "x.png"
    with open_output(path, kind="image", count=4) as sheet:
        for seed in range(4):
            sheet.write(make_image(seed))
    data = path.read_bytes()
    header = struct.pack(">II", 5, 5) + data[24:29]
    path.write_bytes(data[:16] + header + struct.pack(">I", zlib.crc32(b"IHDR" + header)) + data[33:])
    with pytest.raises(OutputError, match="does not match its own layout"):
        compare(f"{path}:2", make_image(1))
