"""``zoo train`` in real processes, killed and interrupted."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from zoo_core.testing.plugins import write_plugin

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("toy")]

STEPS = 300
RUN = ("--steps", str(STEPS), "--batch-size", "4", "--checkpoint-every", "20", "--sample-every", "0")


def start(*words: str, module: tuple[str, ...] = ("-m", "zoo_core")) -> subprocess.Popen[str]:
    environment = os.environ | {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *module, "train", *words]
    return subprocess.Popen(
        command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def zoo_train(*words: str) -> tuple[int, str, str]:
    process = start(*words)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 100
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.002)


def newest_step(folder: Path) -> int:
    names = [path.stem for path in (folder / "training" / "checkpoints").glob("step-*.pt")]
    return max((int(name.removeprefix("step-")) for name in names), default=0)


def test_a_run_that_is_killed_then_interrupted_then_resumed_gives_the_same_bits(
    tmp_path: Path, images: Path
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    words = ("toy", "--data", str(images), "-o", str(run), *RUN)

    killed = start(*words)
    wait_until(lambda: newest_step(run) >= 20, killed)
    killed.kill()
    killed.communicate()
    interrupted = start(*words)
    wait_until(lambda: newest_step(run) >= 120, interrupted)
    interrupted.send_signal(signal.SIGINT)
    _, told = interrupted.communicate(timeout=60)
    stopped_at = newest_step(run)
    status, out, err = zoo_train(*words)
    assert zoo_train("toy", "--data", str(images), "-o", str(whole), *RUN)[0] == 0

    assert killed.returncode == -signal.SIGKILL
    assert interrupted.returncode == 130
    assert f"Stopped after step {stopped_at} of {STEPS}. Give the same command again to resume." in told
    assert "Traceback" not in told
    assert status == 0, err
    assert out == f"{run}\n"
    assert f"Resuming from step {stopped_at}." in err
    assert f"zoo run {run}" in err
    assert (run / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    curves = [(folder / "training" / "curve.jsonl").read_text() for folder in (run, whole)]
    assert curves[0] == curves[1]
    assert json.loads(curves[0].splitlines()[-1])["step"] == STEPS


def test_two_processes_share_a_run_and_stop_at_the_same_step(tmp_path: Path, images: Path) -> None:
    folder = tmp_path / "run"
    words = ("toy", "--data", str(images), "-o", str(folder), *RUN, "--steps", "120")
    launcher = ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "zoo_core")

    process = start(*words, module=launcher)
    wait_until(lambda: newest_step(folder) >= 20, process)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    stopped_at = newest_step(folder)
    resumed = start(*words, module=launcher)
    _, err = resumed.communicate(timeout=120)

    assert 20 <= stopped_at < 120
    assert resumed.returncode == 0, err
    assert err.count(f"Resuming from step {stopped_at}.") == 1
    lines = (folder / "training" / "curve.jsonl").read_text().splitlines()
    assert [json.loads(line)["step"] for line in lines] == list(range(10, 130, 10))


def test_the_model_runs_at_once_and_was_sampled_on_the_way(tmp_path: Path, images: Path) -> None:
    folder = tmp_path / "run"
    status, _, err = zoo_train(
        "toy", "--data", str(images), "-o", str(folder), "--steps", "30", "--sample-every", "20"
    )
    assert status == 0, err

    ran = subprocess.run(
        [sys.executable, "-m", "zoo_core", "run", str(folder), "-n", "2", "-o", str(tmp_path / "out") + "/"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ran.returncode == 0, ran.stderr
    assert len(list((tmp_path / "out").glob("*.png"))) == 2
    sheets = sorted((folder / "training" / "samples").iterdir())
    assert [sheet.name for sheet in sheets] == ["step-00000020.png", "step-00000030.png"]
    assert Image.open(sheets[0]).width > 4 * 8


def test_help_lists_trainers_and_their_options_without_importing_the_plugin_that_owns_them(
    toy: Path,
) -> None:
    (toy / "__init__.py").write_text("raise RuntimeError('imported')")

    status, families, _ = zoo_train("--help")
    assert status == 0
    assert "toy" in families
    assert "the mean image" in families
    status, options, _ = zoo_train("toy", "--help")
    assert status == 0
    assert "--width" in options
    assert "Hidden units." in options


def test_a_trainer_that_does_not_exist_is_answered_with_the_nearest() -> None:
    status, _, err = zoo_train("toi")

    assert status == 2
    assert "Did you mean 'toy'?" in err


def test_an_option_out_of_range_is_wrong_usage(tmp_path: Path, images: Path) -> None:
    status, _, err = zoo_train("toy", "--data", str(images), "-o", str(tmp_path / "run"), "--width", "0")

    assert status == 2
    assert "an integer of at least 1" in err


def test_data_that_cannot_be_used_are_answered_with_a_remedy(tmp_path: Path) -> None:
    status, out, err = zoo_train("toy", "--data", str(tmp_path / "nowhere"), "-o", str(tmp_path / "run"))

    assert (status, out) == (1, "")
    assert "There is no folder" in err
    assert "Give --data a folder of images." in err
    assert not (tmp_path / "run").exists()


def test_a_trainer_option_named_like_a_flag_of_zoo_train_is_refused(plugin_site: Path) -> None:
    manifest = """
schema = 1
[plugin]
name = "zoo-clash"
summary = "clashes"
[[trainer]]
name = "clash"
summary = "clashes"
data = "image"
[trainer.options.steps]
type = "integer"
description = "Mine."
"""
    write_plugin(plugin_site, "zoo-clash", manifest)

    status, _, err = zoo_train("clash", "--help")

    assert status == 1
    assert "'steps'" in err
    assert "zoo-clash" in err
