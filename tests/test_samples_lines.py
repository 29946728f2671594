"""JSON Lines: a sample a line, appended so that a kill costs at most the line under way."""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import time
from pathlib import Path

import pytest
from made_samples import make_image, make_text

from zoo_core import OutputError
from zoo_core.samples import JsonLines, read_record
from zoo_core.samples.lines import read_line

TEXTS = ("plain", 'two\nlines "quoted" \u2028 \x00', "füchse 🦊", "\udcff no text at all", "")


def fill(path: Path, count: int = 3) -> None:
    with JsonLines(path) as lines:
        for seed in range(count):
            lines.write(make_text(seed, f"text {seed}"))


def test_every_text_comes_back_exactly(tmp_path: Path) -> None:
    path = tmp_path / "a" / "out.jsonl"
    with JsonLines(path) as lines:
        for seed, text in enumerate(TEXTS):
            assert lines.write(make_text(seed, text, prompt=text)) == path
    for seed, text in enumerate(TEXTS):
        assert read_line(path, seed + 1) == (text, make_text(seed, prompt=text).record)
        assert read_record(f"{path}:{seed + 1}").prompt == text


def test_every_line_is_an_object_with_text_and_record(tmp_path: Path) -> None:
    fill(tmp_path / "out.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert [row["text"] for row in rows] == ["text 0", "text 1", "text 2"]
    assert [row["record"]["seed"] for row in rows] == [0, 1, 2]
    assert all(row.keys() == {"text", "record"} for row in rows)


def test_a_file_that_exists_is_refused_resumed_or_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    fill(path)
    with pytest.raises(OutputError, match=r"out\.jsonl exists already") as caught:
        JsonLines(path)
    assert "--resume" in caught.value.remedy
    with JsonLines(path, resume=True) as lines:
        assert lines.has(make_text(2).record)
        assert not lines.has(make_text(3).record)
        lines.write(make_text(3))
    assert [read_line(path, n)[1].seed for n in (1, 2, 3, 4)] == [0, 1, 2, 3]
    with JsonLines(path, overwrite=True) as lines:
        assert not lines.has(make_text(2).record)
        lines.write(make_text(9))
    assert read_record(path).seed == 9


def test_nothing_is_lost_or_left_when_no_sample_comes(tmp_path: Path) -> None:
    fill(tmp_path / "old.jsonl")
    before = (tmp_path / "old.jsonl").read_bytes()
    for path in (tmp_path / "old.jsonl", tmp_path / "new.jsonl"):
        JsonLines(path, overwrite=True).close()
    assert [path.name for path in tmp_path.iterdir()] == ["old.jsonl"]
    assert (tmp_path / "old.jsonl").read_bytes() == before


@pytest.mark.parametrize("kept", [1, 5, 30, 200])
def test_a_torn_last_line_is_dropped_on_resuming(tmp_path: Path, kept: int) -> None:
    path = tmp_path / "out.jsonl"
    fill(path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(lines[0] + lines[1] + lines[2][:kept])
    with JsonLines(path, resume=True) as resumed:
        assert [resumed.has(make_text(seed).record) for seed in range(3)] == [True, True, False]
        resumed.write(make_text(2, "text 2"))
    assert path.read_bytes() == b"".join(lines)


def test_zeros_after_a_crash_are_a_torn_line(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    fill(path)
    whole = path.read_bytes()
    path.write_bytes(whole + bytes(4096))
    JsonLines(path, resume=True).close()
    assert path.read_bytes() == whole


def test_a_whole_last_line_without_its_newline_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    fill(path)
    whole = path.read_bytes()
    path.write_bytes(whole[:-1])
    with JsonLines(path, resume=True) as lines:
        assert lines.has(make_text(2).record)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    "content", [b"my notes\nand more", b"my notes", b'{"text": "x"}\n', b'{"text": 3}\n', b"\n", b"[]\n"]
)
def test_a_file_that_is_not_ours_is_refused_and_unchanged(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "out.jsonl"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"out\.jsonl:1"):
        JsonLines(path, resume=True)
    assert path.read_bytes() == content


def test_a_damaged_line_in_the_middle_is_named_and_the_file_unchanged(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    fill(path)
    damaged = path.read_bytes().replace(b'"text 1"', b'"text 1')
    path.write_bytes(damaged)
    with pytest.raises(OutputError, match=r"out\.jsonl:2"):
        JsonLines(path, resume=True)
    assert path.read_bytes() == damaged


def test_two_runs_do_not_write_one_file(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    with JsonLines(path) as lines:
        lines.write(make_text())
        with pytest.raises(OutputError, match="Another run is writing"):
            JsonLines(path, resume=True)
    assert read_record(path).seed == 0


def test_an_image_is_refused(tmp_path: Path) -> None:
    with (
        JsonLines(tmp_path / "out.jsonl") as lines,
        pytest.raises(OutputError, match="An image cannot be written"),
    ):
        lines.write(make_image())


def _fill_the_disk(path: Path) -> None:
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
    with JsonLines(path) as lines:
        lines.write(make_text(0))
        try:
            lines.write(make_text(1, "x" * 5000))
        except OutputError as error:
            path.with_suffix(".said").write_text(str(error))


def test_a_full_disk_leaves_whole_lines(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    process = multiprocessing.get_context("fork").Process(target=_fill_the_disk, args=(path,))
    process.start()
    process.join()
    assert process.exitcode == 0
    assert read_record(path).seed == 0
    assert path.read_bytes().endswith(b"}\n")
    assert "cannot be written: File too large" in path.with_suffix(".said").read_text()


def _run(path: Path, count: int) -> None:
    with JsonLines(path, resume=True) as lines:
        for seed in range(count):
            if not lines.has(make_text(seed).record):
                lines.write(make_text(seed, f"{seed} " * 20_000))


def test_a_run_killed_again_and_again_completes_without_holes_or_doubles(tmp_path: Path) -> None:
    path, count, kills = tmp_path / "out.jsonl", 40, 0
    for _ in range(100):
        process = multiprocessing.get_context("fork").Process(target=_run, args=(path, count))
        grown = (path.stat().st_size if path.exists() else 0) + 250_000
        process.start()
        while process.is_alive() and not (path.exists() and path.stat().st_size > grown):
            time.sleep(0.0005)
        process.kill()
        process.join()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert kills >= 3
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["record"]["seed"] for row in rows] == list(range(count))
    assert all(row["text"] == f"{row['record']['seed']} " * 20_000 for row in rows)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("out.jsonl", "holds several samples"),
        ("out.jsonl:4", "has no line 4"),
        ("out.jsonl:0", "has no line"),
        ("none.jsonl", "No such file"),
        ("empty.jsonl", "has no line 1"),
    ],
)
def test_a_line_that_cannot_be_told_or_found_says_so(tmp_path: Path, name: str, message: str) -> None:
    fill(tmp_path / "out.jsonl")
    (tmp_path / "empty.jsonl").touch()
    with pytest.raises(OutputError, match=message):
        read_record(os.fspath(tmp_path / name))
