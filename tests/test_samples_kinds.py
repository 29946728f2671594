"""Every kind of output: files, records in them, resume, replay, contact sheets, what is damaged."""

from __future__ import annotations

import csv
import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
import torch
from made_samples import make_record, make_sample
from PIL import Image

from zoo_core.errors import OutputError
from zoo_core.manifest.cards import OUTPUTS
from zoo_core.protocols import RESULTS
from zoo_core.samples import RunFolder, compare, open_output, read_record
from zoo_core.samples.kinds import KINDS
from zoo_core.samples.kinds.image import compare_encoded
from zoo_core.samples.single import save_images

FORMATS = [
    (kind.name, suffix)
    for kind in KINDS.values()
    for suffix in dict.fromkeys((*kind.suffixes, *kind.image_suffixes))
]
OTHERS = ("audio", "video", "points", "table")


def test_the_core_the_manifest_and_the_protocol_know_the_same_kinds() -> None:
    assert tuple(KINDS) == OUTPUTS == tuple(RESULTS)


@pytest.mark.parametrize(("kind", "suffix"), FORMATS)
def test_each_format_has_its_record_and_is_the_same_when_made_again(
    tmp_path: Path, kind: str, suffix: str
) -> None:
    path = make_sample(kind).save(tmp_path / f"x{suffix}")
    again = make_sample(kind)
    assert read_record(path) == again.record
    assert compare(path, again).verdict == "identical"
    assert compare(path, make_sample(kind, 1)).verdict == "different"
    assert make_sample(kind).save(path) == path  # the same sample: nothing is lost


@pytest.mark.parametrize("kind", OTHERS)
def test_long_records_are_read_back(tmp_path: Path, kind: str) -> None:
    sample = make_sample(kind)
    prompt = '漢字 "quoted" ' * 20_000
    sample = replace(sample, record=replace(sample.record, prompt=prompt))
    assert read_record(sample.save(tmp_path / f"x{KINDS[kind].suffixes[0]}")).prompt == prompt


@pytest.mark.parametrize("kind", OTHERS)
def test_a_folder_is_resumed_and_a_sheet_is_replayed(tmp_path: Path, kind: str) -> None:
    samples = [make_sample(kind, seed) for seed in range(3)]
    with open_output(tmp_path / "out", kind=kind, count=3) as out:
        paths = [out.write(sample) for sample in samples[:2]]
    assert [path.suffix for path in paths if path] == [KINDS[kind].suffixes[0]] * 2
    resumed = RunFolder(tmp_path / "out", resume=True)
    assert [resumed.has(sample.record) for sample in samples] == [True, True, False]
    sheet = tmp_path / "sheet.png"
    with open_output(sheet, kind=kind, count=3) as out:
        for sample in samples:
            out.write(sample)
    assert compare(f"{sheet}:2", samples[1]).verdict == "identical"
    assert compare(f"{sheet}:2", samples[0]).verdict == "different"


@pytest.mark.parametrize(("kind", "suffix"), [(kind, KINDS[kind].suffixes[0]) for kind in OTHERS])
@pytest.mark.parametrize("length", [0, 10, 100, -20])
def test_a_truncated_file_is_no_sample(tmp_path: Path, kind: str, suffix: str, length: int) -> None:
    path = make_sample(kind).save(tmp_path / f"x{suffix}")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(OutputError):
        read_record(path)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp4", ".npz"])
def test_damage_is_an_error_or_harmless(tmp_path: Path, suffix: str) -> None:
    kind = next(each.name for each in KINDS.values() if suffix in each.suffixes)
    path = make_sample(kind).save(tmp_path / f"x{suffix}")
    data, random = path.read_bytes(), np.random.default_rng(0)
    for _ in range(200):
        broken = bytearray(data)
        for place in random.integers(0, len(data), 8):
            broken[place] = random.integers(256)
        path.write_bytes(broken)
        try:
            read_record(path)
        except OutputError:
            continue


def test_other_programs_read_the_files(tmp_path: Path) -> None:
    audio = make_sample("audio")
    levels, rate = soundfile.read(audio.save(tmp_path / "a.wav"), dtype="int16")
    assert rate == 8000
    assert levels.shape == (4000, 2)
    assert np.abs(levels.T / 32767 - audio.tensor.numpy()).max() < 1 / 32767
    flac = soundfile.SoundFile(audio.save(tmp_path / "a.flac"))
    assert (
        json.loads(flac.comment)["seed"]
        == json.loads(soundfile.SoundFile(tmp_path / "a.wav").comment)["seed"]
    )
    for suffix in (".mp4", ".webm"):
        with av.open(str(make_sample("video").save(tmp_path / f"v{suffix}"))) as video:
            frames = [frame.to_ndarray(format="rgb24") for frame in video.decode(video=0)]
            assert float(video.streams.video[0].average_rate or 0) == 12.5
        assert np.stack(frames).shape == (6, 18, 32, 3)  # an odd height has one row more
    points = make_sample("points")
    with np.load(points.save(tmp_path / "p.npz")) as archive:
        assert np.array_equal(archive["points"], points.tensor.numpy())
        assert json.loads(archive["record"].item()) == points.record.to_json()
    rows = list(csv.reader(points.save(tmp_path / "p.csv").open()))
    assert rows[0] == ["x", "y"]
    assert torch.equal(torch.tensor([[float(x) for x in row] for row in rows[1:]]), points.tensor)


def test_points_are_a_film_with_common_axes(tmp_path: Path) -> None:
    path = make_sample("points").save(tmp_path / "x.gif")
    with Image.open(path) as film:
        assert film.n_frames == 2  # the two previews are equal, and GIF merges them
    assert compare_encoded(path, path.read_bytes()).verdict == "identical"


@pytest.mark.parametrize("dimensions", [1, 2, 3, 5])
def test_points_of_any_dimension_have_a_plot(dimensions: int) -> None:
    sample = replace(make_sample("points"), tensor=torch.randn(50, dimensions), frames=())
    assert sample.image.size == (256, 256)
    assert len(set(sample.image.convert("L").tobytes())) > 2


def test_a_missing_library_is_named_with_its_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for kind, library in (("audio", "soundfile"), ("video", "av")):
        monkeypatch.setitem(sys.modules, library, None)
        with pytest.raises(OutputError, match=f"needs {library}") as caught:
            make_sample(kind).save(tmp_path / f"x{KINDS[kind].suffixes[0]}")
        assert f"zoo-core[{kind}]" in caught.value.remedy
        assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".mp4", ".webm"])
def test_frames_of_a_command_become_a_video(tmp_path: Path, suffix: str) -> None:
    frames = [Image.new("L", (15, 16), level) for level in (0, 128, 255)]
    save_images(tmp_path / f"x{suffix}", frames, make_record(), milliseconds=100)
    assert read_record(tmp_path / f"x{suffix}") == make_record()


@pytest.mark.parametrize(
    ("kind", "rows", "wrong"),
    [
        ("audio", torch.zeros(2, 8), r"shape \(2, 8\), not \(n, channels, length\)"),
        ("audio", [0.0], "a list where a tensor belongs"),
        ("video", torch.zeros(2, 3, 4, 8, 8), "4 channels"),
        ("points", torch.zeros(2, 3, 2, dtype=torch.int64), "torch.int64 where floats belong"),
        ("points", torch.zeros(2, 0, 2), r"shape \(2, 0, 2\)"),
        ("table", ({"a": [1.0], "b": [1.0, 2.0]},), "columns of different lengths"),
        ("table", ({"a": [1.0, "x"]},), "both numbers and texts"),
        ("table", ({"a": [float("nan")]},), "no finite number"),
        ("table", ({},), "where the columns of a table belong"),
        ("text", "one", "a str where a tuple of texts belongs"),
    ],
)
def test_what_a_generator_may_not_return(kind: str, rows: object, wrong: str) -> None:
    problem = KINDS[kind].problem(rows)
    assert problem is not None
    assert wrong.replace("\\", "") in problem


def test_pickles_in_an_archive_are_not_read(tmp_path: Path) -> None:
    file = io.BytesIO()
    np.savez(file, points=np.zeros((2, 2)), record=np.array([print], dtype=object))
    (tmp_path / "x.npz").write_bytes(file.getvalue())
    with pytest.raises(OutputError):
        read_record(tmp_path / "x.npz")
