"""``zoo new``: the plugin of every kind installs, lists, runs and passes its tests without an edit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from functools import cached_property
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import tomli
import yaml

import zoo_core
from zoo_core.catalog import Catalog
from zoo_core.errors import OutputError, PluginError
from zoo_core.scaffold import BLUEPRINTS, LICENSES, Names, check_name, contents, write_plugin_folder
from zoo_core.scaffold.blueprints import Blueprint
from zoo_core.testing import write_plugin
from zoo_core.testing.conformance.checks import PLUGIN_CHECKS
from zoo_core.testing.hub import isolation

pytestmark = pytest.mark.slow

GAN = BLUEPRINTS[0]
TEXTS = [each for each in BLUEPRINTS if each.output == "text"]
KINDS = [pytest.param(each, id=f"{each.family}-{each.output}") for each in BLUEPRINTS]


def names_of(blueprint: Blueprint) -> Names:
    """The names of the new plugin of one kind."""
    return Names(f"zoo-new-{blueprint.family}-{blueprint.output}")


class Site:
    """New plugins of every kind, installed by one call of pip."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.packages = folder, folder / "site"
        self.variables = os.environ | isolation(folder / "home") | {"PYTHONPATH": str(self.packages)}
        for blueprint in BLUEPRINTS:
            names = names_of(blueprint)
            write_plugin_folder(
                folder / names.plugin, contents(blueprint, names, "mit", training=not blueprint.suffix)
            )
        pip = ("-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation")
        self.python(*pip, "--target", self.packages, *(folder / names_of(each).plugin for each in BLUEPRINTS))

    def python(self, *words: object) -> str:
        """Run Python and return its output; it must succeed."""
        command = [sys.executable, *map(str, words)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, cwd=self.folder, env=self.variables
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def zoo(self, *commands: tuple[str, ...]) -> list[Any]:
        """Run commands of ``zoo`` with ``--json`` in one process, and return what each prints."""
        return [json.loads(line) for line in self.python("-c", RUN, json.dumps(commands)).splitlines()]

    @cached_property
    def listed(self) -> dict[str, dict[str, Any]]:
        """The output of ``zoo list`` by id."""
        return {card["id"]: card for card in self.zoo(("list",))[0]}

    @cached_property
    def plugins(self) -> dict[str, dict[str, Any]]:
        """The output of ``zoo plugins`` by name."""
        return {row["name"]: row for row in self.zoo(("plugins",))[0]}

    @cached_property
    def samples(self) -> dict[str, list[Any]]:
        """The output of ``zoo run`` by id: three samples each."""
        ids = [names_of(each).model for each in BLUEPRINTS]
        runs = (("run", id, "-n", "3", "--seed", "5", "-o", f"{id}/") for id in ids)
        return dict(zip(ids, self.zoo(*runs), strict=True))

    @cached_property
    def tests(self) -> dict[str, list[str]]:
        """The outcomes of the plugins' own tests, by plugin."""
        folders = [names_of(each).plugin for each in BLUEPRINTS]
        pytest = ("-m", "pytest", "-q", "-p", "no:cacheprovider", "--import-mode=importlib", "--rootdir=.")
        self.python(*pytest, "--junitxml=report.xml", *folders)
        found: dict[str, list[str]] = {folder: [] for folder in folders}
        for case in ElementTree.parse(self.folder / "report.xml").iter("testcase"):
            folder = case.attrib["classname"].partition(".")[0]
            found[folder].append("skipped" if case.find("skipped") is not None else "passed")
        return found


RUN = """
import contextlib, io, json, sys
from zoo_core.cli import main
for words in json.loads(sys.argv[1]):
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main([*words, "--json"])
    print(json.dumps(json.loads(output.getvalue())))
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    return Site(tmp_path_factory.mktemp("new"))


@pytest.mark.slow
@pytest.mark.parametrize("blueprint", KINDS)
def test_a_new_plugin_is_installed_listed_and_run(blueprint, site):
    names = names_of(blueprint)
    listed = site.listed[names.model]
    assert (listed["output"], listed["plugin"]) == (blueprint.output, names.plugin)
    assert listed["parameters"] > 1000
    assert site.plugins[names.plugin]["status"] == "ok"
    assert len(site.samples[names.model]) == 3
    files = (site.folder / names.model).glob("seed*")
    assert len({path.read_bytes() for path in files if path.suffix != ".json"}) == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    "blueprint", [each for each in BLUEPRINTS if each.suffix], ids=lambda each: each.output
)
def test_sounds_and_points_are_run_replayed_and_shown_on_a_sheet(blueprint, site):
    model = names_of(blueprint).model
    file, sheet = f"{model}{blueprint.suffix}", f"{model}.png"
    runs = (
        (("run", model, "--seed", "3", "-o", file)),
        ("run", model, "-n", "4", "--seed", "0", "-o", sheet),
    )
    site.zoo(*runs)
    verdicts = [each["verdict"] for each in site.zoo(("replay", file), ("replay", f"{sheet}:4"))]
    assert verdicts == ["identical", "identical"]
    from PIL import Image

    with Image.open(site.folder / sheet) as image:
        assert min(image.size) > 200
        assert len(image.convert("L").getcolors() or ()) >= 2  # something is drawn on the white


@pytest.mark.slow
@pytest.mark.parametrize("blueprint", KINDS)
def test_the_tests_of_a_new_plugin_pass(blueprint, site):
    """They are the conformance suite, and a step of training."""
    assert site.tests[names_of(blueprint).plugin].count("passed") > len(PLUGIN_CHECKS)


@pytest.mark.slow
def test_a_new_plugin_passes_zoo_check(site):
    assert site.python("-m", "zoo_core", "check", "--quick", names_of(GAN).plugin)  # its tests are the whole


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("blueprint", KINDS)
def test_a_new_plugin_is_deterministic_and_small(blueprint, training):
    training = training and not blueprint.suffix
    once, again = (contents(blueprint, Names("zoo-x"), "mit", training=training) for _ in range(2))
    assert once == again
    assert sum(map(len, once.values())) < 400_000
    assert once["zoo_x/py.typed"] == b""
    assert ("zoo_x/training.py" in once) == ("tests/test_training.py" in once) == training
    assert (b"[[trainer]]" in once["zoo_x/zoo.toml"]) == training
    for path, data in once.items():
        if not path.endswith(".safetensors"):
            assert "mymodel" not in data.decode().lower(), path
            assert "$" not in data.decode().replace("${{", ""), path


@pytest.mark.parametrize("license", LICENSES)
def test_the_licence_is_the_same_in_every_file(license):
    files = contents(GAN, Names("zoo-cat-faces"), license, training=False)
    project = tomli.loads(files["pyproject.toml"].decode())["project"]
    assert project["license"] == LICENSES[license]
    assert files["LICENSE"].decode().strip()
    assert tomli.loads(files["zoo_cat_faces/zoo.toml"].decode())["model"][0]["license"] == license


def test_a_new_plugin_can_be_published():
    files = contents(GAN, Names("zoo-cat-faces"), "mit", training=False)
    project = tomli.loads(files["pyproject.toml"].decode())["project"]
    assert project["name"] == "zoo-cat-faces"
    assert project["entry-points"]["zoo.plugins"] == {"zoo-cat-faces": "zoo_cat_faces"}
    assert b"class CatFaces:" in files["zoo_cat_faces/generator.py"]
    assert b"![Sixteen samples" in files["README.md"]
    steps = yaml.safe_load(files[".github/workflows/test.yml"])["jobs"]["test"]["steps"]
    assert {"run": "zoo check zoo-cat-faces"} in steps


def test_modules_use_only_public_names_of_the_core():
    modules = Path(zoo_core.__file__).parent / "scaffold" / "modules"
    for path in modules.glob("*.py"):
        assert "zoo_core." not in path.read_text(), path
    from zoo_core.scaffold.modules.alphabet import SIZE

    # blueprints.toml repeats the size, because importing a module's package imports torch.
    sizes = [blueprint.config.get("vocabulary", blueprint.config.get("outputs")) for blueprint in TEXTS]
    assert sizes == [SIZE, SIZE + 1, SIZE]


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
def test_invalid_names_are_refused(name):
    with pytest.raises(PluginError) as caught:
        check_name(name, Catalog.read())
    assert "is not a valid plugin name" in caught.value.message
    assert caught.value.message.isprintable()
    assert len(caught.value.message) < 200
    assert "zoo-mymodel" in caught.value.remedy


def test_taken_names_are_refused(plugin_site):
    manifest = 'schema = 1\n[plugin]\nname = "zoo-faces"\nsummary = "Faces"\n[[model]]\nid = "cats"\n'
    manifest += 'summary = "Cats"\nfamily = "gan"\noutput = "image"\nlicense = "mit"\n'
    manifest += 'weights = { embedded = "weights" }\n'
    write_plugin(plugin_site, "zoo-faces", manifest)
    catalog = Catalog.read()
    for name, reason in {
        "zoo-faces": "A plugin named zoo-faces already exists.",
        "zoo-core": "would be named zoo_core, like an installed package",
        "json": "would be named json, like an installed package",
        "zoo-cats": "would be named cats, like a model of zoo-faces",
    }.items():
        with pytest.raises(PluginError, match=reason):
            check_name(name, catalog)
    assert check_name("zoo-dogs", catalog) == Names("zoo-dogs")


def test_names_are_derived_from_the_plugin_name():
    names = Names("zoo-cat-faces-2")
    assert (names.module, names.model, names.type) == ("zoo_cat_faces_2", "cat-faces-2", "CatFaces2")
    assert Names("zoo-3d").type == "Model3d"
    assert Names("faces").model == "faces"


# --- Writing -----------------------------------------------------------------------------------------------


def test_existing_files_are_not_replaced(tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name in ("full", "file", "link"):
        with pytest.raises(OutputError, match="already exists"):
            write_plugin_folder(tmp_path / name, {"a": b""})
    assert (tmp_path / "file").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["file", "full", "link"]


def test_a_failed_write_leaves_nothing(tmp_path):
    with pytest.raises(OutputError, match="cannot be written"):
        write_plugin_folder(tmp_path / "zoo-x", {"a": b"", "a/b": b"a file cannot be a folder"})
    with pytest.raises(OutputError, match="cannot be written"):
        write_plugin_folder(tmp_path / "missing" / "zoo-x", {"a": b""})
    assert os.listdir(tmp_path) == []
