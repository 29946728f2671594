"""The whole path, as a user walks it: genuine checkpoints, and the Hub over HTTP in genuine processes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from in_process import zoo
from PIL import Image

from zoo_core import create_extractor, extractors
from zoo_core.testing.hub import LoopbackHub

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[1]


def zoo_process(*words: str, cwd: Path, status: int = 0) -> str:
    command = [sys.executable, "-m", "zoo_core", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == status, done.stderr
    return done.stdout if status == 0 else done.stderr


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A pipeline as diffusers itself saves it: unet/ and scheduler/ folders, random weights."""
    from diffusers import DDPMPipeline, DDPMScheduler, UNet2DModel

    torch.manual_seed(0)
    unet = UNet2DModel(
        sample_size=16,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D", "AttnDownBlock2D"),
        up_block_types=("AttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        norm_num_groups=8,
    )
    folder = tmp_path_factory.mktemp("pipeline")
    DDPMPipeline(unet, DDPMScheduler()).save_pretrained(folder)
    return folder


def read_digits(images: torch.Tensor) -> torch.Tensor:
    reader = create_extractor(extractors()["digits"], torch.device("cpu"))
    with torch.inference_mode():
        return reader.classify(reader(images))


def files_of(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.usefixtures("isolated_home")
def test_sixteen_sevens(tmp_path):
    words = ("run", "ddpm-digits", "--label", "7", "-n", "16", "--seed", "0", "-o", "out/")
    out = zoo_process(*words, cwd=tmp_path)

    assert out.split() == [f"out/seed{i:04d}.png" for i in range(16)]
    images = np.stack([np.asarray(Image.open(tmp_path / path)) for path in out.split()])
    images = torch.from_numpy(images)[:, None].float() / 127.5 - 1
    digits = read_digits(images)
    assert (digits == 7).sum() >= 15


@pytest.mark.usefixtures("isolated_home")
def test_a_seed_is_the_same_image_alone_and_in_a_batch(tmp_path):
    shared = ("--label", "3", "--steps", "5", "--sampler", "dpmpp-2m")
    zoo("run", "ddpm-digits", "-n", "4", "--seed", "0", *shared, "-o", "four/", cwd=tmp_path)
    zoo("run", "ddpm-digits", "--seed", "2", *shared, "-o", "one.png", cwd=tmp_path)
    four = np.asarray(Image.open(tmp_path / "four/seed0002.png"), dtype=int)
    one = np.asarray(Image.open(tmp_path / "one.png"), dtype=int)
    assert np.abs(four - one).max() <= 1


def test_a_pipeline_of_diffusers_runs_from_the_hub_and_then_offline(
    pipeline: Path, loopback_hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    commit = loopback_hub.add("someone/tiny", files_of(pipeline))
    run = ("run", "hf:someone/tiny", "--steps", "2", "--seed", "1", "--json", "-o")

    record = json.loads(zoo_process(*run, "a.png", cwd=tmp_path))[0]
    assert record["checkpoint"]["source"] == f"hf:someone/tiny@{commit}"

    asked = len(loopback_hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    again = json.loads(zoo_process(*run, "b.png", cwd=tmp_path))[0]
    assert again["checkpoint"] == record["checkpoint"]
    assert len(loopback_hub.requests) == asked
    assert zoo_process("replay", "a.png", cwd=tmp_path) == "The image is the same, pixel for pixel.\n"


def test_a_file_altered_in_the_cache_is_mended_or_refused(
    pipeline: Path, loopback_hub: LoopbackHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    loopback_hub.add("someone/tiny", files_of(pipeline))
    run = ("run", "hf:someone/tiny", "--steps", "2", "--seed", "1", "-o")
    zoo_process(*run, "a.png", cwd=tmp_path)
    blob = max(Path(os.environ["HF_HUB_CACHE"]).glob("*/blobs/*"), key=lambda path: path.stat().st_size)
    data = bytearray(blob.read_bytes())
    data[-5] ^= 1

    blob.write_bytes(data)
    zoo_process(*run, "b.png", cwd=tmp_path)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

    blob.write_bytes(data)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    err = zoo_process(*run, "c.png", cwd=tmp_path, status=1)
    assert "diffusion_pytorch_model.safetensors" in err
    assert not (tmp_path / "c.png").exists()


@pytest.mark.usefixtures("isolated_home")
def test_what_is_trained_runs_at_once(tmp_path):
    rng = np.random.default_rng(0)
    for label in ("dark", "light"):
        folder = tmp_path / "images" / label
        folder.mkdir(parents=True)
        for i in range(8):
            level = 40 if label == "dark" else 200
            Image.fromarray(rng.integers(level, level + 40, (8, 8), dtype=np.uint8)).save(folder / f"{i}.png")
    zoo(
        *("train", "ddpm", "--data", "images", "-o", "model", "--grey", "--size", "8", "--steps", "4"),
        *("--batch-size", "4", "--channels", "8,16", "--layers", "1", "--attention", ""),
        *("--head-channels", "8"),
        cwd=tmp_path,
    )  # fmt: skip
    records = json.loads(
        zoo("run", "./model", "--label", "0,1", "--seed", "0", "--steps", "3", "--json", cwd=tmp_path)
    )
    assert [record["metadata"]["class"] for record in records] == ["dark", "light"]


@pytest.mark.usefixtures("isolated_home")
def test_digits_token_by_token(tmp_path):
    words = ("run", "imagegpt-digits", "--label", "0-9", "-n", "40", "--seed", "0")
    out = zoo(*words, "-o", "out/", cwd=tmp_path)

    images = np.stack([np.asarray(Image.open(tmp_path / path)) for path in out.split()])
    images = torch.from_numpy(images)[:, None].float() / 127.5 - 1
    digits = read_digits(images)
    assert (digits == torch.arange(40) % 10).sum() >= 35


@pytest.mark.usefixtures("isolated_home")
def test_a_book_that_was_held_out_is_told_in_fewer_than_two_bits_a_byte(tmp_path):
    jonah = ROOT / "tests" / "data" / "kjv-jonah.txt"
    (scored,) = json.loads(zoo("score", "gpt-kjv", str(jonah), "--json", cwd=tmp_path))

    assert scored["bytes"] == jonah.stat().st_size
    assert scored["bits_per_byte"] < 1.6


@pytest.mark.usefixtures("isolated_home")
def test_a_text_goes_on_as_it_began_and_is_replayed(tmp_path):
    words = ("run", "gpt-kjv", "And it came to pass", "--seed", "3", "--max-tokens", "40")
    zoo(*words, "-o", "text.jsonl", cwd=tmp_path)
    line = json.loads((tmp_path / "text.jsonl").read_text())

    assert len(line["text"].split()) > 15
    again = zoo("replay", "text.jsonl", cwd=tmp_path)
    assert "match" in again or "same" in again


@pytest.mark.usefixtures("isolated_home")
def test_scoring_a_long_text_takes_no_more_memory_than_a_short_one(tmp_path):
    jonah = (ROOT / "tests" / "data" / "kjv-jonah.txt").read_text()
    code = (
        "import sys, zoo_core.cli as cli, pathlib\n"
        "try: cli.main(['score', 'gpt-kjv', sys.argv[1]])\n"
        "finally: print(pathlib.Path('/proc/self/status').read_text().split('VmHWM:')[1].split()[0])\n"
    )

    def kilobytes(copies: int) -> int:
        path = tmp_path / "text.txt"
        path.write_text(jonah * copies)
        done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
        return int(done.stdout.split()[-1])

    if not Path("/proc/self/status").exists():
        pytest.skip("only Linux tells a process's peak memory")
    assert kilobytes(12) < kilobytes(1) + 60_000  # 21,000 tokens and 1,800
