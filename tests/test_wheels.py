"""Wheels and source archives: they hold what they should and nothing else, and work away from the tree."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest
from environments import ROOT, Environment, third_parties

from zoo_core.testing.hub import isolation

pytestmark = pytest.mark.slow

PLUGINS = sorted(path.parent.name for path in ROOT.glob("plugins/*/pyproject.toml"))
PROJECTS = {"zoo-core": ROOT, **{name: ROOT / "plugins" / name for name in PLUGINS}}


def package_of(name: str) -> str:
    return name.replace("-", "_")


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Folder with the wheel and the source archive of every project, the wheel built from the archive.

    By the projects' own backend, which is here and need not be fetched; one process builds them all.
    """
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-c", BUILD_ALL, folder, *PROJECTS.values()]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


BUILD_ALL = """
import os, sys, tarfile
from hatchling.build import build_sdist, build_wheel
folder, *projects = sys.argv[1:]
for project in projects:
    os.chdir(project)
    name = build_sdist(folder)
    with tarfile.open(f"{folder}/{name}") as archive:
        archive.extractall(f"{folder}/unpacked", filter="data")
    os.chdir(f"{folder}/unpacked/{name.removesuffix('.tar.gz')}")
    build_wheel(folder)
"""


def wheel_of(folder: Path, name: str) -> Path:
    (wheel,) = folder.glob(f"{package_of(name)}-*.whl")
    return wheel


def archive_of(folder: Path, name: str) -> Path:
    (archive,) = folder.glob(f"{package_of(name)}-*.tar.gz")
    return archive


def metadata_of(folder: Path, name: str):
    with zipfile.ZipFile(wheel_of(folder, name)) as wheel:
        (path,) = (path for path in wheel.namelist() if path.endswith(".dist-info/METADATA"))
        return Parser().parsestr(wheel.read(path).decode())


def sources(name: str) -> set[str]:
    """Every file of a project's package, as the tree has it."""
    project, package = PROJECTS[name], package_of(name)
    found = {
        path.relative_to(project).as_posix()
        for path in (project / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    return found | ({"zoo_core/registry.toml"} if name == "zoo-core" else set())


@pytest.mark.parametrize("name", PROJECTS)
def test_a_wheel_holds_the_package_with_its_data_and_nothing_else(built, name):
    with zipfile.ZipFile(wheel_of(built, name)) as wheel:
        files = set(wheel.namelist())
    info = {path for path in files if path.split("/")[0].endswith(".dist-info")}
    assert files - info == sources(name)
    assert not any(
        "/tests/" in path or "/recipes/" in path or path.endswith((".pyc", ".sh")) for path in files
    )
    expected = {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "licenses/LICENSE"}
    assert {path.split("/", 1)[1] for path in info} == expected
    needed = {"py.typed", "registry.toml"} if name == "zoo-core" else {"zoo.toml", "__init__.py"}
    assert {f"{package_of(name)}/{each}" for each in needed} <= files


def test_wheels_carry_templates_and_weights(built):
    with zipfile.ZipFile(wheel_of(built, "zoo-core")) as wheel:
        assert any(path.startswith("zoo_core/scaffold/files/") for path in wheel.namelist())
        assert "zoo_core/testing/conformance/__init__.py" in wheel.namelist()
    with zipfile.ZipFile(wheel_of(built, "zoo-ddpm")) as wheel:
        weights = wheel.getinfo("zoo_ddpm/weights/ddpm-digits/diffusion_pytorch_model.safetensors")
        assert weights.file_size > 1_000_000


@pytest.mark.parametrize("name", PROJECTS)
def test_a_source_archive_holds_one_project(built, name):
    with tarfile.open(archive_of(built, name)) as archive:
        files = {member.name.split("/", 1)[1] for member in archive.getmembers()}
    tops = {path.split("/")[0] for path in files}
    allowed = {package_of(name), "pyproject.toml", "README.md", "LICENSE", "PKG-INFO", ".gitignore"}
    allowed |= {"registry.toml", "CHANGELOG.md"} if name == "zoo-core" else {"tests", "recipes"}
    assert tops <= allowed
    assert sources(name) - {"zoo_core/registry.toml"} <= files
    assert not any("__pycache__" in path for path in files)


@pytest.mark.parametrize("name", PROJECTS)
def test_metadata_says_what_an_index_and_a_registry_want_to_know(built, name):
    metadata = metadata_of(built, name)
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Summary"]
    assert metadata.get_payload().strip()  # the README
    if name != "zoo-core":
        assert any(line.startswith("zoo-core") for line in metadata.get_all("Requires-Dist"))


def environment(folder: Path, built: Path, names: list[str]) -> Environment:
    """An environment with these from their wheels, which sees just what they declare that they need."""
    needed = [line for name in names for line in metadata_of(built, name).get_all("Requires-Dist", [])]
    there = Environment(
        folder / "venv", [third_parties(folder / "third-parties", needed)], isolation(folder / "home")
    )
    wheels = [wheel_of(built, name) for name in names]
    # With everything that they require, or not at all.
    done = there.run("-m", "pip", "install", "--no-index", *wheels)
    assert done.returncode == 0, done.stderr
    (there.folder / "work").mkdir()
    return there


def test_the_core_and_one_plugin_run_from_their_wheels_alone(built, tmp_path):
    there = environment(tmp_path, built, ["zoo-core", "zoo-ddpm"])
    script, work = there.folder / "bin" / "zoo", there.folder / "work"

    def zoo(*words: str) -> str:
        done = subprocess.run(
            [script, *words], cwd=work, env=there.variables, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    places = there.run(
        "-c", "import zoo_core, zoo_ddpm; print(zoo_core.__file__, zoo_ddpm.__file__)"
    ).stdout.split()
    assert all(place.startswith(str(there.site)) for place in places)
    assert "ddpm-digits" in zoo("list")
    assert "zoo install zoo-gpt" in zoo("list", "--all")
    assert "No problems found." in zoo("doctor")
    zoo("run", "ddpm-digits", "--label", "7", "--seed", "0", "--steps", "4", "-o", "seven.png")
    assert (work / "seven.png").read_bytes().startswith(b"\x89PNG")
    assert "the same, pixel for pixel" in zoo("replay", "seven.png")


def test_all_plugins_run_from_their_wheels(built, tmp_path):
    there = environment(tmp_path, built, list(PROJECTS))
    rows = json.loads(there.zoo("plugins", "--json").stdout)
    assert {row["name"]: row["problem"] for row in rows} == dict.fromkeys(PLUGINS)
    cards = json.loads(there.zoo("list", "--json").stdout)
    embedded = {card["id"] for card in cards if card["weights"]["from"] == "embedded"}
    assert len(embedded) >= 4
    done = there.run("-c", CHECK_ALL, *PLUGINS)
    reports = json.loads(done.stdout)
    assert [report["plugin"] for report in reports if report["failed"]] == [], reports
    assert embedded <= {result["subject"] for report in reports for result in report["results"]}


CHECK_ALL = """
import json, sys
from zoo_core.testing.conformance.report import check_plugin
print(json.dumps([check_plugin(name, quick=True).to_json() for name in sys.argv[1:]]))
"""
