"""Files made to do harm, or by accident: one clear error each, and no more memory than an honest file."""

from __future__ import annotations

import json
import random
import struct
import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from made_samples import make_image, make_record, make_text
from PIL import Image

from zoo_core import OutputError
from zoo_core.samples import JsonLines, compare, open_output, read_record
from zoo_core.samples.provenance import MAX_RECORD


def chunk(kind: bytes, data: bytes, length: int | None = None) -> bytes:
    size = len(data) if length is None else length
    return struct.pack(">I", size) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(*texts: bytes) -> bytes:
    """A PNG of one grey pixel with iTXt chunks of the given contents."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0))
    pixel = chunk(b"IDAT", zlib.compress(b"\0\0"))
    notes = b"".join(chunk(b"iTXt", text) for text in texts)
    return b"\x89PNG\r\n\x1a\n" + header + notes + pixel + chunk(b"IEND", b"")


def note(text: bytes, *, compressed: bool = False) -> bytes:
    return b"zoo\0" + (b"\1\0" if compressed else b"\0\0") + b"\0\0" + text


def record_bytes(**changes: Any) -> bytes:
    return json.dumps({**make_record().to_json(), **changes}).encode()


@contextmanager
def memory_below(limit: int) -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


def read_error(path: Path) -> str:
    """The one line that says what is wrong; the remedy is one line too."""
    with memory_below(20 * MAX_RECORD), pytest.raises(OutputError) as caught:
        read_record(path)
    assert caught.value.message.count("\n") == caught.value.remedy.count("\n") == 0
    assert len(caught.value.message) < 400
    return caught.value.message


def test_the_pngs_made_here_are_what_the_reader_takes(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    for data in (note(record_bytes()), note(zlib.compress(record_bytes()), compressed=True)):
        path.write_bytes(png(data))
        assert read_record(path) == make_record()
        with Image.open(path) as image:
            image.load()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (note(b"{"), "not valid JSON"),
        (note(b""), "not valid JSON"),
        (note(b"\xff\xfe{}"), "not valid JSON"),
        (note(b"[" * 1_000_000), "not valid JSON"),
        (note(b'{"a":' * 500_000), "not valid JSON"),
        (note(b"NaN"), "not valid JSON"),
        (note(b"1" * 1_000_000), "not valid JSON"),
        (note(b'{"schema": 1, "seed": Infinity}'), "not valid JSON"),
        (note(b"null"), "not an object"),
        (note(b"[]"), "not an object"),
        (note(record_bytes(schema=99)), "schema 99"),
        (note(record_bytes(seed="7")), "'seed' is '7'"),
        (note(record_bytes(options={"x": {}})), "'x' cannot be recorded"),
        (note(record_bytes(prompt=["y" * 100_000])), "'prompt' is"),
        (note(b"x" * (MAX_RECORD + 1000)), "text of more than"),
        (note(zlib.compress(bytes(200_000_000), 9), compressed=True), "text of more than"),
        (note(b"not zlib", compressed=True), "damaged"),
        (b"zoo\0", "not valid JSON"),
        (b"zoo", "not valid JSON"),
        (b"", "has no record"),
        (b"\0" * 200, "has no record"),
    ],
    ids=range(21),
)
def test_a_png_with_a_hostile_note_is_one_clear_error(tmp_path: Path, text: bytes, message: str) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(text))
    assert message in read_error(path)


def test_a_note_of_many_small_objects_takes_bounded_memory(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(png(note(b"[" + b"[]," * (MAX_RECORD // 3 - 100) + b"[]]")))
    with memory_below(60 * MAX_RECORD), pytest.raises(OutputError, match="not an object"):
        read_record(tmp_path / "x.png")


def test_a_length_that_lies_is_no_allocation(tmp_path: Path) -> None:
    data = png()[:-12]
    for kind, content in ((b"iTXt", note(b"{}")), (b"IDAT", b"x"), (b"IEND", b"")):
        path = tmp_path / f"{kind.decode()}.png"
        path.write_bytes(data + chunk(kind, content, length=2**31 - 1))
        with (
            memory_below(1_000_000),
            pytest.raises(OutputError, match=r"truncated|text of more than|no record"),
        ):
            read_record(path)


def test_a_million_notes_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(*[note(record_bytes())] * 3000))
    with memory_below(200_000), pytest.raises(OutputError, match="holds 3000 samples"):
        read_record(path)


@pytest.mark.parametrize("suffix", [".png", ".apng", ".gif", ".jpg", ".webp", ".txt"])
def test_a_file_cut_anywhere_is_told_from_a_whole_one(tmp_path: Path, suffix: str) -> None:
    sample = make_text() if suffix == ".txt" else make_image()
    path = sample.save(tmp_path / f"x{suffix}")
    whole = path.read_bytes()
    for length in {0, 1, 7, 8, 12, 20, 33, 60, len(whole) // 2, len(whole) - 1} & set(range(len(whole))):
        path.write_bytes(whole[:length])
        with pytest.raises(OutputError, match=r"truncated|damaged|no record|does not match"):
            read_record(path)


@pytest.mark.parametrize("suffix", [".png", ".gif", ".jpg", ".txt"])
def test_random_damage_is_never_anything_but_an_output_error(tmp_path: Path, suffix: str) -> None:
    sample = make_text() if suffix == ".txt" else make_image()
    path = sample.save(tmp_path / f"x{suffix}")
    sidecar = path.with_name(path.name + ".json")
    damaged = path if suffix in (".png", ".gif") else sidecar
    whole = damaged.read_bytes()
    chance = random.Random(0)
    for _ in range(300):
        data = bytearray(whole)
        for _ in range(chance.choice((1, 3, 20))):
            data[chance.randrange(len(data))] = chance.randrange(256)
        damaged.write_bytes(data)
        for read in (lambda: read_record(path), lambda: compare(path, sample)):
            with suppress(OutputError):
                read()
    damaged.write_bytes(whole)
    assert read_record(path) == sample.record


def test_a_note_whose_checksum_is_wrong_is_damaged(tmp_path: Path) -> None:
    path = make_image(7).save(tmp_path / "x.png")
    path.write_bytes(path.read_bytes().replace(b'"seed": 7', b'"seed": 8'))
    assert "damaged" in read_error(path)


def gif(comment: bytes) -> bytes:
    blocks = b"".join(
        bytes([len(block)]) + block for block in (comment[i : i + 255] for i in range(0, len(comment), 255))
    )
    return b"GIF89a\1\0\1\0\0\0\0!\xfe" + blocks + b"\0;"


@pytest.mark.parametrize(
    ("comment", "message"),
    [
        (b'{"schema": ', "not valid JSON"),
        (b'{"schema": 7}', "schema 7"),
        (b"Made with an editor", "has no record"),
        (b"x" * (MAX_RECORD + 1), "text of more than"),
    ],
    ids=range(4),
)
def test_a_gif_with_a_hostile_comment_is_one_clear_error(
    tmp_path: Path, comment: bytes, message: str
) -> None:
    path = tmp_path / "x.gif"
    path.write_bytes(gif(comment))
    assert message in read_error(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "not valid JSON"),
        (b"[]", "is not a record of x.jpg"),
        (b'{"sha256": "x"}', "is not a record of x.jpg"),
        (b'{"sha256": 3, "record": {}}', "does not match"),
        (b'{"a": "' + b"x" * 30_000_000 + b'"}', "not valid JSON"),
    ],
    ids=range(5),
)
def test_a_hostile_sidecar_is_one_clear_error(tmp_path: Path, content: bytes, message: str) -> None:
    path = make_image().save(tmp_path / "x.jpg")
    (tmp_path / "x.jpg.json").write_bytes(content)
    assert message in read_error(path)


def test_a_hostile_line_is_one_clear_error_and_bounded_memory(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    with path.open("wb") as file:
        file.truncate(2**33)  # eight gigabytes of zeros without a newline, in a hole
    with memory_below(100_000_000):
        with pytest.raises(OutputError, match="a line too long"):
            read_record(path)
        with pytest.raises(OutputError, match="a line too long"):
            JsonLines(path, resume=True)
    assert path.stat().st_size == 2**33


def test_an_image_that_claims_to_be_enormous_is_never_decoded(tmp_path: Path) -> None:
    """A decompression bomb: 60,000 × 60,000 pixels in a few bytes, with an honest record."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0))
    path = tmp_path / "x.png"
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + header
        + chunk(b"iTXt", note(record_bytes()))
        + chunk(b"IDAT", zlib.compress(bytes(1_000_000)))
        + chunk(b"IEND", b"")
    )
    assert read_record(path) == make_record()
    with memory_below(5_000_000), pytest.raises(OutputError, match="cannot be read"):
        compare(path, make_image())


@pytest.mark.parametrize(
    "layout",
    [
        [],
        {},
        {"count": 10**9, "columns": 1, "width": 1, "height": 1, "zoom": 1, "margin": 1, "caption": 0},
        {"count": 4, "columns": 0, "width": 1, "height": 1, "zoom": 1, "margin": 1, "caption": 0},
        {"count": 4, "columns": 2, "width": 1, "height": 1, "zoom": 0, "margin": 1, "caption": 0},
        {"count": 4, "columns": 2, "width": 1, "height": 1, "zoom": 9, "margin": 1, "caption": 0},
        {"count": 4, "columns": 2, "width": 1.5, "height": 1, "zoom": 1, "margin": 1, "caption": 0},
        {"count": 4, "columns": 2, "width": "1", "height": 1, "zoom": 1, "margin": 1, "caption": 0},
        {"count": 4, "columns": 2, "width": True, "height": 1, "zoom": 1, "margin": 1, "caption": 0},
    ],
    ids=range(9),
)
def test_a_sheet_with_a_hostile_layout_is_one_clear_error(tmp_path: Path, layout: object) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(png(b"zoo-sheet\0\0\0\0\0" + json.dumps(layout).encode(), note(record_bytes())))
    with pytest.raises(OutputError, match="layout cannot be read"):
        compare(path, make_image())


def test_a_record_too_long_to_be_read_is_not_written(tmp_path: Path) -> None:
    sample = make_text(prompt="x" * MAX_RECORD)
    for target in ("x.txt", "out/"):
        with pytest.raises(OutputError, match="at most") as caught:
            sample.save(f"{tmp_path}/{target}")
        assert "shorter prompt" in caught.value.remedy
    with open_output(tmp_path / "x.jsonl", kind="text", count=1) as lines, pytest.raises(OutputError):
        lines.write(sample)
    assert not list(tmp_path.iterdir())


def test_reading_a_record_runs_nothing(tmp_path: Path) -> None:
    """Names that a careless reader would import, call or open stay strings."""
    trap = tmp_path / "trap"
    record = record_bytes(
        model=f"__import__('os').mkdir({str(trap)!r})",
        plugin="os:system",
        metadata={"__class__": "os.system"},
    )
    (tmp_path / "x.png").write_bytes(png(note(record)))
    assert read_record(tmp_path / "x.png").plugin == "os:system"
    assert not trap.exists()
