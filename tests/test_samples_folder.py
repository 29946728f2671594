"""Run folders: one file a sample, none lost, none doubled, whatever interrupts the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_samples import make_image, make_text
from PIL import Image

from zoo_core import OutputError, Sample
from zoo_core.samples import RunFolder, read_record

pytestmark = pytest.mark.slow


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def labelled(label: int, seed: int = 7) -> Sample:
    return make_image(seed, options={"label": label})


def test_samples_are_named_by_seed(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "out")
    for sample in (make_image(0), make_image(7), make_image(12345), make_text(7)):
        folder.write(sample)
    assert names(tmp_path / "out") == [
        "seed0000.png",
        "seed0007.png",
        "seed0007.txt",
        "seed0007.txt.json",
        "seed12345.png",
    ]


def test_samples_of_one_seed_all_stay_and_their_names_tell_them_apart(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    samples = [
        labelled(1),
        labelled(2),
        make_image(7, options={"label": 1}, prompt="A red fox, in snow!"),
        make_image(7, options={"label": 1}, model="../other/model"),
        make_image(7, options={"label": 1}, dtype="bfloat16"),
        make_image(7, options={"label": 1}, device="cuda"),
        make_image(7, options={"label": 1}, versions={"torch": "3.0"}),
        make_image(7, options={"label": 1}, metadata={"note": "only the metadata differ"}),
    ]
    paths = [folder.write(sample) for sample in samples]
    assert [path.name for path in paths] == [
        "seed0007.png",
        "seed0007-label2.png",
        "seed0007-A-red-fox-in-snow.png",
        "seed0007-other-model.png",
        "seed0007-bfloat16.png",
        "seed0007-cuda.png",
        "seed0007-torch-3.0.png",
        "seed0007-2.png",
    ]
    assert [read_record(path) for path in paths] == [sample.record for sample in samples]


def test_the_same_sample_again_keeps_its_file(tmp_path: Path) -> None:
    for _ in range(3):
        for sample in (labelled(1), labelled(2), make_text(7), make_text(7, prompt="x")):
            RunFolder(tmp_path).write(sample)
    assert names(tmp_path) == [
        "seed0007-label2.png",
        "seed0007-x.txt",
        "seed0007-x.txt.json",
        "seed0007.png",
        "seed0007.txt",
        "seed0007.txt.json",
    ]


def test_a_file_that_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "seed0007.png").write_bytes(b"a holiday image")
    (tmp_path / "seed0007.txt").write_bytes(b"a diary")
    folder = RunFolder(tmp_path, resume=True, overwrite=True)
    assert folder.write(make_image(7)).name == "seed0007-2.png"
    assert folder.write(make_text(7)).name == "seed0007-2.txt"
    assert (tmp_path / "seed0007.png").read_bytes() == b"a holiday image"
    assert (tmp_path / "seed0007.txt").read_bytes() == b"a diary"
    assert not (tmp_path / "seed0007.txt.json").exists()


def test_overwrite_replaces_the_sample_that_other_versions_made(tmp_path: Path) -> None:
    RunFolder(tmp_path).write(make_image(7, versions={"torch": "1.0"}))
    RunFolder(tmp_path, overwrite=True).write(make_image(7))
    assert names(tmp_path) == ["seed0007.png"]
    assert read_record(tmp_path / "seed0007.png").versions["torch"] == "2.13.0"


def test_resuming_knows_the_samples_by_what_made_them_not_by_their_names(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    folder.write(labelled(1)).rename(tmp_path / "the-best-one.png")
    folder.write(make_text(8))
    resumed = RunFolder(tmp_path, resume=True)
    assert resumed.has(labelled(1).record)
    assert resumed.has(make_text(8).record)
    assert resumed.has(make_image(7, options={"label": 1}, device="cuda", metadata={"a": 1}).record)
    assert not resumed.has(labelled(2).record)
    assert not resumed.has(labelled(1, seed=8).record)
    assert not resumed.has(make_image(7, options={"label": 1}, dtype="float16").record)
    assert not RunFolder(tmp_path).has(labelled(1).record)


def test_resuming_ignores_what_is_torn_foreign_or_a_sheet(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path)
    torn = folder.write(make_image(1))
    torn.write_bytes(torn.read_bytes()[:-5])
    cut = folder.write(make_text(2))
    cut.write_bytes(b"Once upon")
    folder.write(make_text(3)).unlink()
    (tmp_path / "mine.png").write_bytes(b"")
    (tmp_path / "mine.txt").write_bytes(b"hello")
    (tmp_path / "mine.txt.json").write_bytes(b"[1, 2]")
    (tmp_path / "folder.png").mkdir()
    folder.write(make_image(4))
    resumed = RunFolder(tmp_path, resume=True)
    there = [resumed.has(sample.record) for sample in (make_image(1), make_text(2), make_text(3))]
    assert there == [False, False, False]
    assert resumed.has(make_image(4).record)
    # Made again, each finds a place: beside the torn image, which could be anything, and over its own rest.
    assert [resumed.write(s).name for s in (make_image(1), make_text(2), make_text(3))] == [
        "seed0001-2.png",
        "seed0002-2.txt",
        "seed0003.txt",
    ]
    again = RunFolder(tmp_path, resume=True)
    assert all(again.has(s.record) for s in (make_image(1), make_text(2), make_text(3), make_image(4)))


def test_resuming_with_steps_wants_the_animations_too(tmp_path: Path) -> None:
    frames = [np.zeros((8, 8, 3), np.uint8)]
    RunFolder(tmp_path).write(make_image(1, frames=frames))
    folder = RunFolder(tmp_path, resume=True, steps="gif")
    assert folder.wants_frames
    assert not folder.has(make_image(1).record)
    folder.write(make_image(1, frames=frames))
    assert names(tmp_path) == ["seed0001-steps.gif", "seed0001.png"]
    assert RunFolder(tmp_path, resume=True, steps="gif").has(make_image(1).record)
    # An animation whose image is gone still holds its name.
    (tmp_path / "seed0001.png").unlink()
    assert folder.write(make_image(1, prompt="x")).name == "seed0001-2.png"


def test_writers_that_share_a_folder_lose_nothing(tmp_path: Path) -> None:
    samples = [make_image(7, options={"label": i % 8, "other": i // 8}) for i in range(40)]
    samples += [make_text(7, f"text {i}", options={"label": i}) for i in range(20)]
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(RunFolder(tmp_path).write, samples))
    assert len(set(paths)) == len(samples)
    assert [read_record(path) for path in paths] == [sample.record for sample in samples]


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="file is not a folder"):
        RunFolder(tmp_path / "file")
    with pytest.raises(OutputError, match="is not a folder"):
        RunFolder(tmp_path / "file" / "out")


def run(folder: Path, count: int, log: Path) -> None:
    output = RunFolder(folder, resume=True, steps="apng")
    with log.open("a") as written:
        for seed in range(count):
            for sample in (make_image(seed), make_text(seed, "word " * 5000)):
                if not output.has(sample.record):
                    print(output.write(sample).name, file=written, flush=True)


def test_a_run_killed_again_and_again_completes_without_holes_or_doubles(tmp_path: Path) -> None:
    """Real processes, killed with SIGKILL at moments that sweep through the writing of a sample."""
    folder, log, count, kills = tmp_path / "out", tmp_path / "log", 60, 0
    log.touch()
    for delay in 20 * [*range(8)]:
        process = multiprocessing.get_context("fork").Process(target=run, args=(folder, count, log))
        target = log.stat().st_size + 60  # some five samples further on
        process.start()
        while process.is_alive() and log.stat().st_size < target:
            time.sleep(0.0005)
        if process.is_alive():
            time.sleep(delay / 1000)
            process.kill()
        process.join()
        for path in folder.glob("*.*png"):
            read_record(path)  # whole, or this raises
            with Image.open(path) as image:
                image.load()
        if process.exitcode == 0:
            break
        assert process.exitcode == -signal.SIGKILL
        kills += 1
    assert kills >= 10
    images = {f"seed{seed:04d}{end}" for seed in range(count) for end in (".png", "-steps.apng")}
    texts = {f"seed{seed:04d}.txt{end}" for seed in range(count) for end in ("", ".json")}
    assert set(names(folder)) == images | texts
    assert all((folder / f"seed{seed:04d}.txt").read_text() == "word " * 5000 for seed in range(count))
    # What was reported as written was never made twice.
    assert len(log.read_text().split()) == len(set(log.read_text().split()))


WRITE_TEN_THOUSAND = """
import os, sys
from pathlib import Path
import psutil
from zoo_core import Sample
from zoo_core.samples import RunFolder
from made_samples import make_image, make_record

os.fsync = lambda _: None  # the disk's speed is not what is measured
image = make_image(size=(4, 4), channels=1).tensor
folder = RunFolder(Path(sys.argv[1]), resume=True)
for seed in range(10_000):
    if seed == 500:
        early = psutil.Process().memory_info().rss
    folder.write(Sample(make_record(seed), seed, tensor=image))
print(psutil.Process().memory_info().rss - early)
"""


@pytest.mark.slow
def test_memory_stays_flat_over_ten_thousand_samples(tmp_path: Path) -> None:
    """In a process of its own: a test worker's memory moves by more than what is looked for."""
    command = [sys.executable, "-c", WRITE_TEN_THOUSAND, tmp_path]
    variables = {**os.environ, "PYTHONPATH": str(Path(__file__).parent / "support")}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=variables)
    grown = int(done.stdout)
    assert len(os.listdir(tmp_path)) == 10_000
    assert grown < 3_000_000  # the records alone would be ten times that
