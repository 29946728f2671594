"""An external plugin, examples/zoo-dcgan: another author's weights, installed as a user would."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from zoo_core.noise import Noise
from zoo_core.testing.hub import isolation

ROOT = Path(__file__).parents[1]
EXAMPLE = ROOT / "examples" / "zoo-dcgan"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the plugin's source, with the weights that its script downloads."""
    folder = tmp_path_factory.mktemp("stranger") / "zoo-dcgan"
    shutil.copytree(EXAMPLE, folder, ignore=shutil.ignore_patterns("weights", "__pycache__"))
    done = run([sys.executable, "fetch_weights.py"], cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that its author would publish."""
    folder = tmp_path_factory.mktemp("dist")
    done = run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "-w", str(folder), str(source)])
    assert done.returncode == 0, done.stderr
    (wheel,) = folder.glob("*.whl")
    return wheel


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder into which pip installed the wheel."""
    site = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site)]
    done = run([*pip, str(wheel)])
    assert done.returncode == 0, done.stderr
    return site


@pytest.fixture(scope="module")
def world(site: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables of a user who installed the plugin and has no network."""
    return isolation(tmp_path_factory.mktemp("home")) | {"PYTHONPATH": str(site), "HF_HUB_OFFLINE": "1"}


def run(
    command: list[str], world: dict[str, str] | None = None, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | (world or {})
    return subprocess.run(command, env=environment, cwd=cwd, capture_output=True, text=True, check=False)


def zoo(world: dict[str, str], *arguments: str) -> str:
    done = run([sys.executable, "-m", "zoo_core", *arguments], world)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_its_wheel_holds_the_package_the_weights_and_the_licences(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if "dist-info" not in name}
        licence = archive.read("zoo_dcgan/weights/LICENSE").decode()
    code = {"__init__.py", "convert.py", "generator.py", "network.py", "zoo.toml"}
    weights = {
        "weights/LICENSE",
        "weights/dcgan-faces/config.json",
        "weights/dcgan-faces/model.safetensors",
    }
    assert names == {f"zoo_dcgan/{name}" for name in code | weights}
    assert "chien liu" in licence


def test_it_is_listed_run_and_replayed(world: dict[str, str], tmp_path: Path) -> None:
    (card,) = json.loads(zoo(world, "list", "dcgan", "--json"))
    assert (card["id"], card["plugin"], card["license"]) == ("dcgan-faces", "zoo-dcgan", "mit")
    zoo(world, "run", "dcgan-faces", "-n", "2", "--seed", "7", "-o", str(tmp_path / "faces") + "/")
    files = sorted((tmp_path / "faces").glob("*.png"))
    assert [Image.open(file).size for file in files] == [(64, 64), (64, 64)]
    assert json.loads(zoo(world, "replay", str(files[1]), "--json"))["verdict"] == "identical"


def test_its_images_equal_those_of_the_published_network(world: dict[str, str], tmp_path: Path) -> None:
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--ignore-requires-python"]
    done = run([*pip, "--dest", str(tmp_path), "gan-face-generate==1.1.1"])
    assert done.returncode == 0, done.stderr
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        published = SimpleNamespace()
        exec(archive.read("gan_face_generate/models.py"), vars(published))  # the reference: its network alone
        archive.extract("gan_face_generate/weights.tar", tmp_path)
    network = published.Generator(ngpu=0, nc=3, nz=100, ngf=64)
    file = tmp_path / "gan_face_generate" / "weights.tar"
    weights = torch.load(file, map_location="cpu", weights_only=True)
    network.load_state_dict(weights["netG_state_dict"])
    network.eval()
    with torch.inference_mode():
        expected = network(Noise(range(4)).normal(100)[:, :, None, None])

    zoo(world, "run", "dcgan-faces", "-n", "4", "--seed", "0", "-o", str(tmp_path / "faces") + "/")
    made = [np.asarray(Image.open(file)) for file in sorted((tmp_path / "faces").glob("*.png"))]
    levels = (127.5 * (expected + 1)).permute(0, 2, 3, 1).numpy()
    assert np.abs(np.stack(made) - levels).max() <= 1


def test_a_new_checkpoint_is_converted_and_run(world: dict[str, str], source: Path, tmp_path: Path) -> None:
    code = "from zoo_dcgan.network import *; import torch; torch.manual_seed(0); torch.save("
    code += "{'netG_state_dict': Network(Shape(8, (16, 8, 4), 3)).state_dict()}, 'weights.tar')"
    assert run([sys.executable, "-c", code], world, tmp_path).returncode == 0
    zoo(world, "convert", str(tmp_path / "weights.tar"), "-o", str(tmp_path / "mine"))
    zoo(world, "run", str(tmp_path / "mine"), "--seed", "1", "-o", str(tmp_path / "one.png"))
    assert Image.open(tmp_path / "one.png").size == (32, 32)


def test_it_passes_the_conformance_suite(world: dict[str, str]) -> None:
    report = json.loads(zoo(world, "check", "zoo-dcgan", "--json"))
    assert report["failed"] == 0
    assert report["models_not_here"] == []
    passed = {each["check"] for each in report["results"] if each["outcome"] == "passed"}
    assert {
        "mismatched_weights_are_refused",
        "latents_reproduce_the_images",
        "a_saved_sample_can_be_replayed",
    } <= passed


def test_its_own_tests_pass(world: dict[str, str], source: Path) -> None:
    done = run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests"], world, cwd=source)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_zoo_does_not_install_it() -> None:
    for file in ("Makefile", "tools/demo.sh", "registry.toml"):
        assert "dcgan" not in (ROOT / file).read_text()
