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
from openai import NotFoundError
from running_server import Server
from zoo_ray.engine import RayEngine
from zoo_train.checkpoints import Checkpoints
from zoo_train.loop import CHECKPOINTS

from zoo_core import RunFolder, SamplingJob, make_plan, resolve, sample_on_engine
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
    words = ("run", "moody", "-n", "240", "--seed", "100")
    zoo(*words, "-o", "whole", "-q")
    command = [sys.executable, "-m", "zoo_core", *words, "-o", "out", *ray]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as driver:
        wait_for(lambda: len(list(Path("out").glob("*.png"))) > 20, driver)
        os.kill(next(workers_of_ray()), signal.SIGKILL)
        wait_for(lambda: len(list(Path("out").glob("*.png"))) > 80, driver)
        driver.kill()
        assert "is lost; its tasks go to others." in driver.stderr.read()
    wait_for(lambda: not any(workers_of_ray()))
    there = {path.name: path.stat().st_mtime_ns for path in Path("out").glob("*.png")}
    assert len(there) < 240

    status, out, err = zoo(*words, "-o", "out", *ray, "--resume")

    assert (status, err) == (0, "")
    assert len(out.splitlines()) == 240 - len(there)
    assert {name: (tmp_path / "out" / name).stat().st_mtime_ns for name in there} == there
    assert images(tmp_path / "out") == images(tmp_path / "whole")
    assert indexed(tmp_path / "out") == [(i, f"seed{i + 100:04d}.png", i + 100) for i in range(240)]
    assert {path.name for path in Path("out").iterdir() if path.suffix != ".png"} == {"index.parquet"}


def wait_for(met, driver=None, seconds=120):
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


def test_texts_are_lines_in_order_and_one_that_raises_costs_nothing_else(zoo, ray):
    zoo("run", "moody-words", "-n", "26", "--seed", "14", "-o", "whole.jsonl")
    status, _, err = zoo("run", "moody-words", "-n", "40", "--seed", "0", "-o", "out.jsonl", *ray)

    assert status == 1
    failed = (
        "1 of 40 samples could not be made; seed 13: zoo-moody failed while running moody-words: ValueError"
    )
    assert failed in err
    assert len(err.splitlines()) == 2
    lines = Path("out.jsonl").read_bytes().splitlines()
    assert [json.loads(line)["text"] for line in lines[:13]] == [f"number {seed}" for seed in range(13)]
    assert lines[13:] == Path("whole.jsonl").read_bytes().splitlines()


def test_a_full_disk_is_named_and_what_is_there_is_kept(zoo, ray, tmp_path):
    full = tmp_path / "full"
    full.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "none", full], check=False).returncode:
        pytest.skip("only root can make a small disk")
    try:
        status, _, err = zoo("run", "moody", "-n", "40", "--seed", "0", "-o", full, *ray)
        assert status == 1
        assert "cannot be written: No space left on device.\nFree some space" in err
        assert 0 < len(list(RunFolder(full, resume=True)._there)) < 40
    finally:
        subprocess.run(["umount", full], check=True)


def test_machines_with_another_version_or_without_the_plugin_are_not_used(
    cluster, machine_with, wait, isolated_home, tmp_path
):
    for version in ("0.1", None):
        machine_with(version)
    said = []

    def say(line):
        said.append(line)
        if len(said) == 2:
            wait.unlink()  # until then the others wait

    plan = make_plan(resolve("moody"), None, n=64, seed=100, seeds=None, options={})
    job = SamplingJob("moody", plan, folder=str(tmp_path / "out"))
    (tmp_path / "out").mkdir()
    engine = RayEngine(cluster.address, None, 1.0, None, None)
    made = list(sample_on_engine(engine, job, lambda description: range(64), say))

    assert [each.index for each in made if each.path] == list(range(64))
    assert sorted(line.partition("is not used: ")[2] for line in said) == [
        "There is no model called 'moody'.",
        "it has zoo-moody 0.1, and this machine 1.0.",
    ]


def test_an_address_of_objects_is_run_resumed_merged_and_evaluated(zoo, ray, s3, tmp_path):
    words = ("run", "moody", "-n", "16", "--seed", "100", "-q")
    zoo(*words, "-o", "whole")
    parts = [f"{s3}/part{number}" for number in (1, 2)]
    assert zoo(*words, *ray, "-o", parts[0], "--shard", "1/2")[0] == 0
    assert zoo(*words, "-o", parts[1], "--shard", "2/2")[0] == 0
    as_path(f"{parts[0]}/seed0105.png").unlink()
    assert "1 of 16 samples are not there: seed 105 of shard 1/2" in zoo("merge", *parts)[2]

    again = zoo(*words, *ray, "-o", parts[0], "--shard", "1/2", "--resume")[1].split()
    assert again == [f"{parts[0]}/seed0105.png"]
    assert zoo("merge", *parts, "-o", f"{s3}/all")[1] == f"{s3}/all: 16 samples, none missing, none double\n"

    assert images(as_path(f"{s3}/all")) == images(tmp_path / "whole")
    assert indexed(as_path(parts[0])) == [(i, f"seed0{i + 100}.png", i + 100) for i in range(8)]
    measure = ("--data", "whole", "--extractor", "pixels", "-n", "16", "--json", "-q", "-o")
    figures = [
        json.loads(zoo("eval", samples, *measure, out)[1])["rows"][0]["figures"]
        for samples, out in ((f"{s3}/all", "stored"), ("whole", "here"))
    ]
    assert figures[0] == figures[1]


def test_figures_are_those_of_one_process(zoo, ray):
    zoo("run", "moody", "-n", "20", "--seed", "500", "-o", "data", "-q")
    words = ("eval", "moody", "--data", "data", "--extractor", "pixels", "-n", "40", "--seed", "100")
    words += ("--likelihood", "0", "--json", "-q", "-o")
    one = json.loads(zoo(*words, "one")[1])
    several = json.loads(zoo(*words, "several", *ray)[1])
    assert [row["figures"] for row in several["rows"]] == [row["figures"] for row in one["rows"]]


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


def test_two_machines_train_together(zoo, ray, tmp_path):
    zoo("run", "moody", "-n", "8", "--seed", "100", "-o", "images", "-q")
    words = ["train", "ddpm", "--data", "images", "-o", "trained", "--batch-size", "4", "--channels", "32"]
    words += ["--layers", "1", "--attention", "", "--sample-every", "0", *ray, "--workers", "2"]

    status, out, err = zoo(*words, "--steps", "2", "--decay-steps", "0")
    assert (status, out, err.splitlines()[0]) == (0, "trained\n", f"{tmp_path}/images: 8 images"), err
    _, settings = Checkpoints(Path("trained", CHECKPOINTS)).load_latest()
    assert settings["processes"] == 2
    assert any(Path("trained").rglob("*.safetensors"))


def test_replicas_behind_one_address_answer_as_one_process_does(cluster, ray, tmp_path, zoo):
    server = Server(tmp_path, "gpt-kjv", *ray, "--workers", "2")
    try:
        wait_for(lambda: "machines, ready." in server.log.read_text(), server.process)
        client = server.client()
        text = client.completions.create(model="gpt-kjv", prompt="In the", seed=1, max_tokens=8).choices[0]
        # Replicas take turns, and each knows the samples of the other.
        found = {server.http.get(text.zoo["file"]).content for _ in range(8)}
        with pytest.raises(NotFoundError, match="This server has no model 'other'"):
            client.completions.create(model="other", prompt="In the")
        assert server.stop() == 0, server.log.read_text()
    finally:
        server.process.kill()
    zoo("run", "gpt-kjv", "In the", "--seed", "1", "--max-tokens", "8", "-o", "one.jsonl")
    one = json.loads(Path("one.jsonl").read_text())
    assert text.text == one["text"]
    assert [json.loads(each)["text"] for each in found] == [one["text"]]
