"""``zoo run --engine ray``: the files of one process, whatever happens on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from zoo_core import RunFolder
from zoo_core.files import as_path

pytestmark = pytest.mark.slow


@pytest.fixture
def ray(cluster):
    """The words that name the cluster."""
    return ("--engine", "ray", "--address", cluster.address)


def images(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.suffix == ".png"}


def indexed(folder) -> list[tuple[int, str, int]]:
    with (folder / "index.parquet").open("rb") as file:
        rows = pq.read_table(file).to_pylist()
    assert [json.loads(row["record"])["seed"] for row in rows] == [row["seed"] for row in rows]
    return [(row["index"], row["file"], row["seed"]) for row in rows]


def test_files_are_those_of_one_process_though_workers_and_the_driver_are_killed(zoo, ray, tmp_path):
    words = ("run", "moody", "-n", "400", "--seed", "100")
    zoo(*words, "-o", "whole", "-q")
    command = [sys.executable, "-m", "zoo_core", *words, "-o", "out", *ray]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as driver:
        wait_for(lambda: len(list(Path("out").glob("*.png"))) > 60, driver)
        os.kill(next(workers_of_ray()), signal.SIGKILL)
        wait_for(lambda: len(list(Path("out").glob("*.png"))) > 160, driver)
        driver.kill()
        assert "is lost; its tasks go to others." in driver.stderr.read()
    wait_for(lambda: not any(workers_of_ray()))
    there = {path.name: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}
    assert len(there) < 400

    status, out, err = zoo(*words, "-o", "out", *ray, "--resume")

    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 400 - len(there)
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in there} == there
    assert images(tmp_path / "out") == images(tmp_path / "whole")
    assert indexed(tmp_path / "out") == [(i, f"seed{i + 100:04d}.png", i + 100) for i in range(400)]
    assert {path.name for path in Path("out").iterdir() if path.suffix != ".png"} == {"index.parquet"}


def wait_for(met, driver=None, seconds=60):
    until = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < until
        assert driver is None or driver.poll() is None
        time.sleep(0.05)


def workers_of_ray():
    """Yield the processes of the actors of this cluster, which inherit this session's PYTHONPATH."""
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if (
                b"ray::Host" in (process / "cmdline").read_bytes()
                and os.environ["PYTHONPATH"].encode() in (process / "environ").read_bytes()
            ):
                yield int(process.name)


def test_a_sample_that_raises_and_a_full_disk_cost_nothing_else(zoo, ray, tmp_path):
    status, _, err = zoo("run", "moody", "-n", "20", "--seed", "0", "-o", "out", *ray)

    assert status == 1
    assert (
        "1 of 20 samples could not be made; seed 13: zoo-moody failed while running moody: ValueError" in err
    )
    assert len(err.splitlines()) == 2
    assert len(images(tmp_path / "out")) == 19
    assert [seed for _, _, seed in indexed(tmp_path / "out")] == [*range(13), *range(14, 20)]
    full = tmp_path / "full"
    full.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", full], check=False).returncode:
        return  # only root can make a small disk
    try:
        status, _, err = zoo("run", "moody", "-n", "100", "--seed", "100", "-o", full, *ray)
        assert status == 1
        assert "cannot be written: No space left on device.\nFree some space" in err
        assert 0 < len(list(RunFolder(full, resume=True)._there)) < 100
    finally:
        subprocess.run(["umount", full], check=True)


def test_texts_are_lines_in_order(zoo, ray, tmp_path):
    words = ("run", "moody-words", "-n", "50", "--seed", "20")
    zoo(*words, "-o", "whole.jsonl")
    assert zoo(*words, "-o", "out.jsonl", *ray, "-q")[0] == 0
    assert Path("out.jsonl").read_bytes() == Path("whole.jsonl").read_bytes()
    entries = json.loads(zoo(*words, "-n", "3", "--json", "-o", "texts/", *ray, "-q")[1])
    assert [entry["text"] for entry in entries] == ["number 20", "number 21", "number 22"]


def test_machines_with_another_version_or_without_the_plugin_are_not_used(zoo, machine_with, ray):
    for version, problem in (
        ("0.1", "is not used: it has zoo-moody 0.1, and this machine 1.0."),
        (None, "is not used: There is no model called 'moody'."),
    ):
        machine_with(version)
        status, out, err = zoo("run", "moody", "-n", "600", "--seed", "100", "-o", f"out{version}/", *ray)
        assert (status, len(out.splitlines())) == (0, 600), err
        assert [problem in line for line in err.splitlines() if "is not used" in line] == [True]


def test_an_address_of_objects_is_run_resumed_and_merged(zoo, ray, s3, tmp_path):
    words = ("run", "moody", "-n", "16", "--seed", "100", *ray, "-q")
    zoo("run", "moody", "-n", "16", "--seed", "100", "-o", "whole", "-q")
    parts = [f"{s3}/part{number}" for number in (1, 2)]
    for number, part in enumerate(parts, 1):
        assert zoo(*words, "-o", part, "--shard", f"{number}/2")[0] == 0
    as_path(f"{parts[0]}/seed0105.png").unlink()
    assert "1 of 16 samples are not there: seed 105 of shard 1/2" in zoo("merge", *parts)[2]

    again = zoo(*words, "-o", parts[0], "--shard", "1/2", "--resume")[1].split()
    assert again == [f"{parts[0]}/seed0105.png"]
    assert zoo("merge", *parts, "-o", f"{s3}/all")[1] == f"{s3}/all: 16 samples, none missing, none double\n"

    assert images(as_path(f"{s3}/all")) == images(tmp_path / "whole")
    assert indexed(as_path(parts[0])) == [(i, f"seed0{i + 100}.png", i + 100) for i in range(8)]


def test_figures_are_those_of_one_process_and_an_address_is_evaluated(zoo, ray, s3, tmp_path):
    zoo("run", "moody", "-n", "20", "--seed", "500", "-o", "data", "-q")
    words = ("eval", "moody", "--data", "data", "--extractor", "pixels", "-n", "40", "--seed", "100")
    words += ("--likelihood", "0", "--json", "-q", "-o")
    one = json.loads(zoo(*words, "one")[1])
    several = json.loads(zoo(*words, "several", *ray)[1])
    assert [row["figures"] for row in several["rows"]] == [row["figures"] for row in one["rows"]]

    zoo("run", "moody", "-n", "40", "--seed", "100", "-q", "-o", f"{s3}/eval")
    words = ("eval", f"{s3}/eval", "--data", "data", "--extractor", "pixels", "-n", "40", "--json", "-q")
    stored = json.loads(zoo(*words, "-o", "stored")[1])
    assert stored["rows"][0]["figures"] == one["rows"][0]["figures"]


@pytest.mark.parametrize(
    ("target", "problem"),
    [
        ("s3://nowhere/run", "s3://nowhere/run"),
        ("gopher://run", "Unsupported filesystem: 'gopher'"),
        ("memory://run", "memory://run is another folder on this machine."),
    ],
)
def test_an_output_that_workers_cannot_reach_is_named(zoo, ray, target, problem):
    status, _, err = zoo("run", "moody", "-n", "4", "--seed", "1", *ray, "-q", "-o", target)
    assert status == 1
    assert problem in err
    assert len(err.splitlines()) <= 3
