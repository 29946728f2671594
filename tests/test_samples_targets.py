"""What ``-o`` means, and what it refuses before any work is done."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from made_samples import make_image, make_text

from zoo_core import OutputError
from zoo_core.samples import JsonLines, Output, RunFolder, open_output, read_record
from zoo_core.samples.targets import SheetFile, SingleFile, StandardOutput


@pytest.mark.parametrize(
    ("target", "kind", "count", "expected"),
    [
        ("out", "image", 1, RunFolder),
        ("out/", "text", 9, RunFolder),
        ("v1.5/", "image", 9, RunFolder),
        ("there.png", "image", 9, RunFolder),
        ("x.png", "image", 1, SingleFile),
        ("x.PNG", "image", 9, SheetFile),
        ("x.webp", "image", 1, SingleFile),
        ("x.gif", "image", 1, SingleFile),
        ("x.txt", "text", 1, SingleFile),
        ("x.jsonl", "text", 1, JsonLines),
        ("x.jsonl", "text", 9, JsonLines),
        ("-", "text", 9, StandardOutput),
    ],
)
def test_a_path_says_what_is_written(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    kind: str,
    count: int,
    expected: type[Output],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "there.png").mkdir()
    with open_output(target, kind=kind, count=count) as output:
        assert type(output) is expected
        assert output.wants_frames == (target == "x.gif")
        assert output.path == (None if target == "-" else Path(target))
        if expected is SheetFile:
            output.write(make_image())


@pytest.mark.parametrize(
    ("target", "kind", "count", "options", "message", "remedy"),
    [
        ("-", "image", 1, {}, "Only texts can be written", "-o out/"),
        ("x.bmp", "image", 1, {}, r"x\.bmp: image samples are written as .*\.png, \.jpg", "slash"),
        ("x.jsonl", "image", 1, {}, r"x\.jsonl: image samples are written as", "slash"),
        ("x.png", "text", 1, {}, r"x\.png: text samples are written as .*\.txt", "slash"),
        ("x.mp3", "audio", 1, {}, r"audio samples are written as \.wav, \.flac, \.png", "slash"),
        ("x.wav", "audio", 2, {}, r"A \.wav file holds one sample, not 2", ".png for a contact sheet"),
        ("x.wav", "audio", 1, {"steps": "gif"}, "Steps of audio samples", "save-steps"),
        (
            "x.jpg",
            "image",
            1200,
            {},
            r"A \.jpg file holds one sample, not 1,200",
            r".png for a contact sheet",
        ),
        ("x.txt", "text", 2, {}, r"A \.txt file holds one sample, not 2", ".jsonl"),
        ("x.png", "image", 1, {"resume": True}, "cannot be resumed", "leave out --resume"),
        ("x.png", "image", 2, {"resume": True}, "cannot be resumed", "leave out --resume"),
        ("-", "text", 2, {"resume": True}, "cannot be resumed", "leave out --resume"),
        ("out/", "image", 2, {"caption": "seed"}, "Only a contact sheet has captions", ".png"),
        ("x.png", "image", 2, {"steps": "gif"}, "with a contact sheet", "folder"),
        ("x.gif", "image", 1, {"steps": "gif"}, r"with x\.gif", "folder"),
        ("out/", "text", 1, {"steps": "gif"}, "Steps of text samples", "save-steps"),
        ("old.png", "image", 1, {}, r"old\.png exists already", "--force"),
        ("old.png", "image", 2, {}, r"old\.png exists already", "--force"),
        ("new.png", "image", 1, {"steps": "gif"}, r"new-steps\.gif exists already", "--force"),
        ("old", "image", 1, {}, "old is not a folder", "another path"),
        ("old/x.png", "image", 1, {}, "old is not a folder", "another path"),
    ],
)
def test_what_does_not_fit_is_refused_at_once(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    target: str,
    kind: str,
    count: int,
    options: dict[str, Any],
    message: str,
    remedy: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    old = ("old", "old.png", "new-steps.gif")
    for name in old:
        (tmp_path / name).write_bytes(b"mine")
    with pytest.raises(OutputError, match=message) as caught:
        open_output(target, kind=kind, count=count, **options)
    assert remedy in caught.value.remedy
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == dict.fromkeys(old, b"mine")


@pytest.mark.parametrize("count", [1, 2])
def test_force_replaces_a_file_when_the_samples_are_there_and_not_before(tmp_path: Path, count: int) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"old")
    with open_output(path, kind="image", count=count, overwrite=True) as output:
        assert path.read_bytes() == b"old"
        for seed in range(count):
            output.write(make_image(seed))
    assert read_record(f"{path}:1").seed == 0


def test_one_image_with_its_steps_is_two_files(tmp_path: Path) -> None:
    with open_output(tmp_path / "x.png", kind="image", count=1, steps="apng") as output:
        assert output.wants_frames
        assert output.write(make_image(7)) == tmp_path / "x.png"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["x-steps.apng", "x.png"]
    assert read_record(tmp_path / "x-steps.apng").seed == 7


def test_saving_replaces_only_the_same_sample_unless_told(tmp_path: Path) -> None:
    path = tmp_path / "x.jpg"
    make_image(7).save(path)
    make_image(7).save(path)
    with pytest.raises(OutputError, match=r"x\.jpg exists already") as caught:
        make_image(8).save(path)
    assert "overwrite=True" in caught.value.remedy
    assert read_record(path).seed == 7
    make_image(8).save(path, overwrite=True)
    assert read_record(path).seed == 8


def test_a_file_of_the_users_in_the_sidecars_place_is_named(tmp_path: Path) -> None:
    (tmp_path / "x.jpg.json").write_text("{}")
    with pytest.raises(OutputError, match=r"x\.jpg\.json exists already"):
        make_image(7).save(tmp_path / "x.jpg")
    with pytest.raises(OutputError, match=r"x\.jpg\.json exists already"):
        open_output(tmp_path / "x.jpg", kind="image", count=1)
    assert (tmp_path / "x.jpg.json").read_text() == "{}"


def test_saving_into_a_folder_names_the_file(tmp_path: Path) -> None:
    assert make_image(7).save(tmp_path) == tmp_path / "seed0007.png"
    assert make_image(7).save(f"{tmp_path}/new/") == tmp_path / "new" / "seed0007.png"
    assert make_text(7).save(tmp_path / "texts") == tmp_path / "texts" / "seed0007.txt"


def test_a_text_file_holds_the_text_and_nothing_else(tmp_path: Path) -> None:
    text = "zwei\r\nZeilen \u2028 🦊 \x00"
    path = make_text(7, text).save(tmp_path / "x.txt")
    assert path.read_bytes() == text.encode()
    assert read_record(path) == make_text(7).record


_PRINT = """
import sys
sys.path.insert(0, sys.argv[2])
from zoo_core.samples import open_output
from made_samples import make_text
count = int(sys.argv[1])
with open_output("-", kind="text", count=count) as output:
    for seed in range(count):
        assert output.write(make_text(seed, f"föx {seed}")) is None
"""


@pytest.mark.parametrize(
    ("count", "expected"), [(1, "föx 0\n"), (2, "==> seed 0 <==\nföx 0\n==> seed 1 <==\nföx 1\n")]
)
def test_texts_go_to_the_standard_output_in_utf_8_wherever_one_is(count: int, expected: str) -> None:
    environment = {**os.environ, "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", _PRINT, str(count), Path(__file__).parent / "support"],
        env=environment,
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == expected


def test_a_folder_is_made_with_its_first_sample(tmp_path: Path) -> None:
    open_output(tmp_path / "a" / "b", kind="image", count=1, resume=True).close()
    assert not list(tmp_path.iterdir())
    with open_output(tmp_path / "a" / "b", kind="image", count=1) as output:
        output.write(make_image())
    assert (tmp_path / "a" / "b" / "seed0000.png").is_file()
