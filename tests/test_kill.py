"""Commands killed with SIGKILL at random moments: typed again, they end as if nothing had happened.

Every trial is a fork of this process, which has imported torch already. ``KILLS=20`` tries more moments.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo_core.cli import main
from zoo_core.testing.hub import LoopbackHub, isolation

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("KILLS", "3"))
ROOT = Path(__file__).parents[1]
TINY = "--batch-size 2 --channels 8,16 --head-channels 8 --sample-every 0 --log-every 1"


@dataclass(frozen=True)
class Case:
    """A command, the words that resume it, and what it leaves."""

    words: str
    result: str
    """The file or folder that it makes, relative to the working folder."""
    resume: str = ""
    timed: tuple[str, ...] = ()
    """Files inside the result that hold times, and so differ between two runs."""


CASES = {
    "run, folder": Case(
        "run ddpm-digits -n 6 --steps 3 --seed 5 --batch-size 1 -o out/ -q", "out", "--resume"
    ),
    "run, animated": Case(
        "run ddpm-digits -n 3 --seed 5 --steps 3 --save-steps gif -o out/ -q", "out", "--resume"
    ),
    "run, sheet": Case("run ddpm-digits -n 4 --seed 5 --steps 3 -o sheet.png -q", "sheet.png"),
    "run, lines": Case(
        "run gpt-kjv -n 6 --seed 5 --max-tokens 8 --batch-size 1 -o out.jsonl -q", "out.jsonl", "--resume"
    ),
    "pull": Case("pull hf:org/model", "home"),
    "train": Case(
        f"train ddpm --data data -o model --steps 6 --checkpoint-every 2 {TINY}",
        "model",
        timed=("training/curve.jsonl", "training/curve.png"),
    ),
    "convert": Case("convert weights.pt -o model", "model"),
    "eval": Case(
        "eval data --data held -n 10 --extractor pixels -q -o report",
        "report",
        timed=("report.html", "report.json"),
    ),
}


def run(words: str, folder: Path, seconds: float | None = None) -> float | None:
    """Run a command in a fork. Return how long it took; None if it was killed after ``seconds``.

    The fork has its own home beside the result, as on a new machine.
    """
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        code: object = 70
        try:
            os.chdir(folder)
            hub = os.environ["HF_ENDPOINT"]
            os.environ |= isolation(folder / "home") | {"HF_ENDPOINT": hub}
            sys.stdout = sys.stderr = open("said.txt", "w", buffering=1)  # noqa: SIM115
            main(words.split())
        except SystemExit as end:
            code = end.code or 0
        finally:
            os._exit(code if isinstance(code, int) else 70)
    # Here, not in the fork: one killed before it had a group of its own would take the tests' with it.
    os.setpgid(child, child)
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        took = time.monotonic() - started
        if done:
            assert os.waitstatus_to_exitcode(status) == 0, (folder / "said.txt").read_text(errors="replace")
            return took
        if seconds is not None and took > seconds:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return None
        time.sleep(0.001)


def names(folder: Path) -> set[str]:
    """Return every file in a folder, but for what the command said."""
    return {file.relative_to(folder).as_posix() for file in folder.rglob("*") if file.is_file()} - {
        "said.txt"
    }


def content(path: Path, timed: tuple[str, ...]) -> dict[str, object]:
    """Return every file of a result by its path inside it: its bytes, of a ``.pt`` file its values."""
    if path.is_file():
        return {path.name: path.read_bytes()}
    inside = (name for name in sorted(names(path)) if name not in timed)
    return {
        name: values(path / name) if name.endswith(".pt") else (path / name).read_bytes() for name in inside
    }


def values(path: Path) -> object:
    """Return what a training checkpoint holds; its pickle also tells which strings are one object."""

    def plain(value: object) -> object:
        if isinstance(value, torch.Tensor):
            return str(value.dtype), tuple(value.shape), value.numpy().tobytes()
        if isinstance(value, dict):
            return {key: plain(each) for key, each in value.items()}
        return [plain(each) for each in value] if isinstance(value, list | tuple) else value

    return plain(torch.load(path, weights_only=True))


def as_trained_elsewhere() -> dict[str, dict[str, torch.Tensor]]:
    """Return a small StyleGAN2 in the layout that rosinality's training writes."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=random)

    tensors = {"input.input": normal(1, 8, 4, 4)}
    for i in (1, 2):
        tensors |= {f"style.{i}.weight": normal(8, 8), f"style.{i}.bias": normal(8)}
    for index, (name, size) in enumerate({"conv1": 4, "convs.0": 8, "convs.1": 8}.items()):
        tensors |= {
            f"{name}.conv.weight": normal(1, 8, 8, 3, 3),
            f"{name}.conv.modulation.weight": normal(8, 8),
            f"{name}.conv.modulation.bias": normal(8),
            f"{name}.noise.weight": normal(1),
            f"{name}.activate.bias": normal(8),
            f"noises.noise_{index}": normal(1, 1, size, size),
        }
    for name in ("to_rgb1", "to_rgbs.0"):
        tensors |= {
            f"{name}.conv.weight": normal(1, 3, 8, 1, 1),
            f"{name}.conv.modulation.weight": normal(8, 8),
            f"{name}.conv.modulation.bias": normal(8),
            f"{name}.bias": normal(1, 3, 1, 1),
        }
    return {"g_ema": tensors}


@pytest.fixture
def prepared(tmp_path: Path, loopback_hub: LoopbackHub) -> Path:
    """A folder with what the commands read: two sets of images, a snapshot, a repository on the Hub."""
    folder = tmp_path / "prepared"
    for seed, name in enumerate(("data", "held")):
        (folder / name).mkdir(parents=True)
        levels = np.random.default_rng(seed).integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
        for i, image in enumerate(levels):
            Image.fromarray(image).save(folder / name / f"{i:02}.png")
    torch.save(as_trained_elsewhere(), folder / "weights.pt")
    weights = ROOT / "plugins" / "zoo-ddpm" / "zoo_ddpm" / "weights" / "ddpm-digits"
    loopback_hub.add("org/model", {file.name: file.read_bytes() for file in weights.iterdir()})
    return folder


@pytest.mark.parametrize("name", CASES)
def test_a_killed_command_ends_as_if_it_had_not_been(name: str, prepared: Path, tmp_path: Path) -> None:
    case = CASES[name]
    whole = shutil.copytree(prepared, tmp_path / "whole")
    duration = run(case.words, whole)
    assert duration is not None
    expected, files = content(whole / case.result, case.timed), names(whole)
    chance = random.Random(name)
    for kill in range(KILLS):
        trial = shutil.copytree(prepared, tmp_path / f"trial {kill}")
        moment = chance.uniform(0, duration)
        run(case.words, trial, moment)
        if content(trial / case.result, case.timed) != expected or names(trial) != files:
            run(f"{case.words} {case.resume}", trial)
        assert content(trial / case.result, case.timed) == expected, f"killed after {moment:.3f} s"
        assert names(trial) == files, f"killed after {moment:.3f} s"
        shutil.rmtree(trial)
