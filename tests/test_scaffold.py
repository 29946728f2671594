"""Fresh plugins: for every family and output one that installs, lists, runs and proves itself, untouched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import tomli
import yaml

import zoo_core
from zoo_core.catalog import Catalog
from zoo_core.errors import OutputError, PluginError
from zoo_core.scaffold import BLUEPRINTS, LICENSES, Names, check_name, contents, write_plugin_folder
from zoo_core.scaffold.blueprints import CHARACTERS
from zoo_core.testing import write_plugin

GAN = BLUEPRINTS[0]
KINDS = [pytest.param(each, id=f"{each.family}-{each.output}") for each in BLUEPRINTS]


def python(*words: object, cwd: Path) -> str:
    """What a Python process prints; it must end well."""
    command = [sys.executable, *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("blueprint", KINDS)
def test_a_fresh_plugin_installs_lists_runs_and_is_checked(blueprint, plugin_site, tmp_path):
    names = Names("zoo-fresh-thing")
    folder = tmp_path / names.plugin
    write_plugin_folder(folder, contents(blueprint, names, "mit", training=True))
    pip = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
    python(*pip, "--target", plugin_site, folder, cwd=tmp_path)

    zoo = ("-m", "zoo_core")
    (listed,) = json.loads(python(*zoo, "list", "fresh-thing", "--json", cwd=tmp_path))
    assert (listed["output"], listed["plugin"]) == (blueprint.output, "zoo-fresh-thing")
    assert listed["parameters"] > 1000
    run = (*zoo, "run", "fresh-thing", "-n", "3", "--seed", "5", "-o", "made/", "--json")
    assert len(json.loads(python(*run, cwd=tmp_path))) == 3
    made = [path.read_bytes() for path in (tmp_path / "made").glob("seed*") if path.suffix != ".json"]
    assert len(set(made)) == 3
    rows = {row["name"]: row for row in json.loads(python(*zoo, "plugins", "--json", cwd=tmp_path))}
    assert rows["zoo-fresh-thing"]["status"] == "ok"
    if blueprint is GAN:
        python(*zoo, "check", "zoo-fresh-thing", cwd=tmp_path)
    # Its own tests make the same checks, and train it where it can be trained.
    report = python("-m", "pytest", "-q", "-p", "no:cacheprovider", cwd=folder)
    assert " passed" in report
    assert "failed" not in report


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("blueprint", KINDS)
def test_a_scaffold_is_the_same_each_time_and_small(blueprint, training):
    once, again = (contents(blueprint, Names("zoo-x"), "mit", training=training) for _ in range(2))
    assert once == again
    assert sum(map(len, once.values())) < 400_000
    assert ("zoo_x/training.py" in once) == ("tests/test_training.py" in once) == training
    assert (b"[[trainer]]" in once["zoo_x/zoo.toml"]) == training
    for path, data in once.items():
        if not path.endswith(".safetensors"):
            assert "mymodel" not in data.decode().lower(), path
            assert "$" not in data.decode().replace("${{", ""), path


@pytest.mark.parametrize("license", LICENSES)
def test_the_licence_is_said_in_all_its_places(license):
    files = contents(GAN, Names("zoo-cat-faces"), license, training=False)
    project = tomli.loads(files["pyproject.toml"].decode())["project"]
    assert project["license"] == LICENSES[license]
    assert files["LICENSE"].decode().strip()
    assert tomli.loads(files["zoo_cat_faces/zoo.toml"].decode())["model"][0]["license"] == license


def test_a_scaffold_has_what_is_needed_to_publish_it():
    files = contents(GAN, Names("zoo-cat-faces"), "mit", training=False)
    project = tomli.loads(files["pyproject.toml"].decode())["project"]
    assert project["name"] == "zoo-cat-faces"
    assert project["entry-points"]["zoo.plugins"] == {"zoo-cat-faces": "zoo_cat_faces"}
    assert b"class CatFaces:" in files["zoo_cat_faces/generator.py"]
    assert b"![Sixteen samples" in files["README.md"]
    steps = yaml.safe_load(files[".github/workflows/test.yml"])["jobs"]["test"]["steps"]
    assert {"run": "zoo check zoo-cat-faces"} in steps


def test_the_modules_use_public_names_alone_and_know_their_alphabet():
    modules = Path(zoo_core.__file__).parent / "scaffold" / "modules"
    for path in modules.glob("*.py"):
        assert "zoo_core." not in path.read_text(), path
    from zoo_core.scaffold.modules.alphabet import SIZE

    assert SIZE == CHARACTERS


# --- Names -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "",
        "Zoo-Faces",
        "zoo_faces",
        "zoo.faces",
        "zoo--faces",
        "zoo-",
        "-zoo",
        "3d-faces",
        "zoo faces",
        "zoo-faces\n",
        "zoo-gesichter-äöü",
        "../zoo-faces",
        "/tmp/zoo-faces",
        "zoo-\x1b[31mfaces",
        "class",
        "x" * 61,
        "zoo-" + "x" * 100_000,
    ],
)
def test_what_cannot_be_a_name_is_refused_shortly(name):
    with pytest.raises(PluginError) as caught:
        check_name(name, Catalog.read())
    assert "is not a valid plugin name" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200
    assert "zoo-mymodel" in caught.value.remedy


def test_a_name_that_somebody_has_is_refused(plugin_site):
    manifest = 'schema = 1\n[plugin]\nname = "zoo-faces"\nsummary = "Faces"\n[[model]]\nid = "cats"\n'
    manifest += 'summary = "Cats"\nfamily = "gan"\noutput = "image"\nlicense = "mit"\n'
    manifest += 'weights = { embedded = "weights" }\n'
    write_plugin(plugin_site, "zoo-faces", manifest)
    catalog = Catalog.read()
    for name, reason in {
        "zoo-faces": "There is a plugin called zoo-faces already.",
        "zoo-core": "would be called zoo_core, as one that is installed",
        "json": "would be called json, as one that is installed",
        "zoo-cats": "would be called cats, as one of zoo-faces",
    }.items():
        with pytest.raises(PluginError, match=reason):
            check_name(name, catalog)
    assert check_name("zoo-dogs", catalog) == Names("zoo-dogs")


def test_names_follow_from_the_plugins():
    names = Names("zoo-cat-faces-2")
    assert (names.module, names.model, names.type) == ("zoo_cat_faces_2", "cat-faces-2", "CatFaces2")
    assert Names("zoo-3d").type == "Model3d"
    assert Names("faces").model == "faces"


# --- Writing -----------------------------------------------------------------------------------------------


def test_what_is_there_is_left_alone(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("full", "file", "link"):
        with pytest.raises(OutputError, match="exists already"):
            write_plugin_folder(tmp_path / name, {"a": b""})
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "full", "link"]


def test_nothing_half_written_is_left(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_plugin_folder(tmp_path / "zoo-x", {"a": b"", "a/b": b"a file cannot be a folder"})
    with pytest.raises(OutputError, match="cannot be written"):
        write_plugin_folder(tmp_path / "missing" / "zoo-x", {"a": b""})
    assert os.listdir(tmp_path) == []
