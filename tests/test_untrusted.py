"""Hostile manifests: refused with the key named, on one short line that any terminal shows as it is."""

from __future__ import annotations

import copy
import time
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from zoo_core.catalog import Catalog
from zoo_core.errors import CardError, ZooError, short_repr
from zoo_core.files import is_inside
from zoo_core.manifest.reader import read_manifest
from zoo_core.manifest.untrusted import is_plain
from zoo_core.plugins.discovery import installed_plugins, parse_toml
from zoo_core.registry import read_registry
from zoo_core.testing import write_plugin

COMMIT = "0" * 40
HONEST: dict[str, Any] = {
    "schema": 1,
    "plugin": {"name": "zoo-x", "summary": "X", "homepage": "https://x.example", "converts": [".pkl"]},
    "options": {"scale": {"type": "number", "default": 1.0, "minimum": 0, "description": "Larger is more."}},
    "model": [
        {
            "id": "x",
            "aliases": ["someone/x"],
            "summary": "X",
            "family": "gan",
            "output": "image",
            "license": "mit",
            "cite": "@article{x,\n\ttitle = {X}\n}",
            "homepage": "https://x.example",
            "training": {"data": "naïve 漢字 עברית 🦓👩\u200d🚀"},
            "weights": {"repo": "a/b", "revision": COMMIT, "files": [{"name": "w.safetensors"}]},
        },
        {
            "id": "y",
            "summary": "Y",
            "family": "gan",
            "output": "image",
            "license": "mit",
            "weights": {"embedded": "w"},
        },
    ],
    "checkpoint": [
        {
            "summary": "X",
            "family": "gan",
            "output": "image",
            "config": "config.json",
            "where": {"model_type": "x"},
            "files": ["vocab.json"],
            "weights": "model",
        }
    ],
    "command": [{"name": "walk", "help": "Walk.", "target": "zoo_x.walk:walk"}],
    "trainer": [{"name": "x", "summary": "X", "data": "image"}],
}

TRAVERSALS = ("../w", "a/../../w", "/etc/passwd", "..\\w", "C:\\w", "C:w", "\\\\server\\w", ".", "/")
ESCAPES = (
    "\x1b[2J",
    "a\x00b",
    "a\rb",
    "\x9b31m",
    "\x07",
    "\u202eabc",
    "\u2066x",
    "\ud800",
    "a\u2028b",
    "\ufeffx",
)
LONG = "x" * 10_000_000


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = {"a": value}
    return value


# Where in the manifest, what stands there, and how the message goes on after the file.
PATHS = {
    ("model", 1, "weights", "embedded"): "[model y.weights] embedded: expected a folder inside",
    ("model", 0, "weights", "files", 0, "name"): "[model x.weights.files] name: expected a path inside",
    ("checkpoint", 0, "config"): "[checkpoint 1] config: expected a path inside the checkpoint",
    ("checkpoint", 0, "files", 0): "[checkpoint 1] files: expected paths inside the checkpoint",
    ("checkpoint", 0, "weights"): "[checkpoint 1] weights: expected paths inside the checkpoint",
}
NAMES = {
    ("plugin", "name"): "[plugin] name: expected lower-case",
    ("model", 0, "id"): " id: expected lower-case",
    ("model", 0, "aliases", 0): "[model x] aliases: expected a list of names",
    ("model", 0, "weights", "repo"): "[model x.weights] repo: expected ORG/NAME",
    ("model", 0, "weights", "revision"): "[model x.weights] revision: expected a commit",
    ("command", 0, "name"): " name: expected lower-case",
    ("trainer", 0, "name"): " name: expected lower-case",
    ("command", 0, "target"): "[command walk] target: expected module:attribute",
    ("plugin", "converts", 0): "[plugin] converts: expected a list of suffixes",
    ("plugin", "homepage"): "[plugin] homepage: expected an address",
    ("model", 0, "homepage"): "[model x] homepage: expected an address",
}
TEXTS = {
    ("plugin", "name"): "[plugin] name",
    ("plugin", "summary"): "[plugin] summary",
    ("plugin", "converts", 0): "[plugin.converts] 1",
    ("options", "scale", "description"): "[options.scale] description",
    ("model", 0, "id"): "[model 1] id",
    ("model", 0, "aliases", 0): "[model 1.aliases] 1",
    ("model", 0, "summary"): "[model 1] summary",
    ("model", 0, "license"): "[model 1] license",
    ("model", 0, "cite"): "[model 1] cite",
    ("model", 0, "training", "data"): "[model 1.training] data",
    ("model", 0, "weights", "revision"): "[model 1.weights] revision",
    ("model", 0, "weights", "files", 0, "name"): "[model 1.weights.files 1] name",
    ("checkpoint", 0, "where", "model_type"): "[checkpoint 1.where] model_type",
    ("command", 0, "help"): "[command 1] help",
}


def manifest(at: tuple[Any, ...], value: Any) -> dict[str, Any]:
    """The honest manifest with one other value."""
    document = copy.deepcopy(HONEST)
    place: Any = document
    for key in at[:-1]:
        place = place[key]
    place[at[-1]] = value
    return document


def refusal(document: dict[str, Any]) -> str:
    """What is said about a manifest, which must be short and harmless."""
    with pytest.raises(CardError) as caught:
        read_manifest(document, "zoo.toml", Path("/site/zoo_x"))
    message = caught.value.message
    assert is_plain(message, ""), message
    assert len(message) < 400
    assert caught.value.remedy
    return message.removeprefix("zoo.toml: ")


def test_the_honest_manifest_is_read():
    assert read_manifest(HONEST, "zoo.toml", Path("/site/zoo_x")).models[0].training["data"].endswith("🚀")


@pytest.mark.parametrize("value", TRAVERSALS)
@pytest.mark.parametrize("at", PATHS, ids=str)
def test_a_path_that_leaves_its_folder_is_refused(at, value):
    assert refusal(manifest(at, value)).startswith(PATHS[at])


@pytest.mark.parametrize("value", ["../x", "/x", "a b", "a/../b", "..", "-x", "ünï", "x" * 300, "a\n"])
@pytest.mark.parametrize("at", NAMES, ids=str)
def test_a_name_that_is_none_is_refused(at, value):
    assert NAMES[at] in refusal(manifest(at, value))


@pytest.mark.parametrize("value", ESCAPES, ids=ascii)
@pytest.mark.parametrize("at", TEXTS, ids=str)
def test_what_could_steer_a_terminal_is_refused(at, value):
    expected = "text without control characters"
    assert refusal(manifest(at, value)).startswith(f"{TEXTS[at]}: expected {expected}, not ")


@pytest.mark.parametrize("at", TEXTS, ids=str)
def test_ten_megabytes_are_refused_at_once(at):
    began = time.process_time()
    assert refusal(manifest(at, LONG)) == f"{TEXTS[at]}: expected at most 20000 characters, not 10000000."
    assert time.process_time() - began < 2


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (("\x1b[2J",), 1, "'\\x1b[2J': expected a key of at most 100 printable characters."),
        (("model", 0, "\x1b[2J"), 1, "[model 1] '\\x1b[2J': expected a key of at most 100"),
        ((LONG,), 1, "'xxxx"),
        (("options", "scale", "minimum"), 10**400, "[options.scale] minimum: expected a number below 2^63"),
        (("options", "scale", "default"), float("inf"), "[options.scale] default: expected a number below"),
        (("options", "scale", "default"), float("nan"), "[options.scale] default: expected a number"),
        (("model", 0, "parameters"), 2**63, "[model 1] parameters: expected a number below 2^63"),
        (("model", 0, "training"), nested(9), "[model 1.training.a.a.a.a.a] a: expected tables and lists at"),
        (("plugin", "summary"), nested(900), "[plugin.summary.a.a.a.a.a.a] a: expected tables and lists at"),
        (("deep",), [[[[[[[[[[1]]]]]]]]]], "[deep 1 1 1 1 1 1 1] 1: expected tables and lists at most"),
        (("model", 0, "id"), [LONG[:1000]] * 1000, "[model ['xxx"),
    ],
    ids=[*"abcdefghijk"],
)  # fmt: skip
def test_what_is_out_of_bounds_is_refused(at, value, message):
    assert refusal(manifest(at, value)).startswith(message)


@pytest.mark.parametrize(
    "text",
    [
        "a = " + "[" * 100_000,
        "a = " + "[" * 5_000 + "]" * 5_000,
        ".".join(["a"] * 50_000) + " = 1",
        "[" + ".".join(["a"] * 50_000) + "]",
        "a = " + "9" * 100_000,
        "a = '\x1b'",
        "a = \ud800".encode("utf-8", "surrogatepass"),
        b"\xff\xfe",
        b"\x00" * 1000,
    ],
    ids=[*"abcdefghi"],
)
def test_toml_that_is_meant_to_break_its_reader_is_refused(text):
    with pytest.raises(CardError, match=r"zoo\.toml: not valid TOML") as caught:
        parse_toml(text if isinstance(text, bytes) else text.encode(), Path("zoo.toml"))
    assert is_plain(caught.value.message, "")
    assert len(caught.value.message) < 400


# --- As a plugin that is installed, and as one that a registry lists ---------------------------------------


def test_a_hostile_plugin_is_a_row_and_the_others_are_as_they_were(plugin_site):
    write_plugin(plugin_site, "zoo-honest", tomli_w.dumps(manifest(("plugin", "name"), "zoo-honest")))
    for number, value in enumerate((*ESCAPES[:7], LONG)):
        hostile = manifest(("plugin", "name"), f"zoo-x{number}")
        hostile["model"][0]["summary"] = value
        write_plugin(plugin_site, f"zoo-x{number}", tomli_w.dumps(hostile), "raise AssertionError")
    rows = {plugin.name: plugin for plugin in installed_plugins()}
    assert rows["zoo-honest"].status == "ok"
    for number in range(8):
        plugin = rows[f"zoo-x{number}"]
        assert plugin.status == "broken"
        assert plugin.problem is not None
        assert "[model 1] summary: expected " in plugin.problem.message
    assert {"x", "y"} <= set(Catalog.read().models)


def test_an_entry_point_with_a_hostile_name_is_a_row_that_a_terminal_can_show(plugin_site):
    write_plugin(plugin_site, "zoo-x", tomli_w.dumps(HONEST))
    for number, name in enumerate(("\x1b[2Jzoo", "../zoo", "zoo " + "x" * 5000)):
        package = write_plugin(plugin_site, f"zoo-y{number}", tomli_w.dumps(HONEST), "raise AssertionError")
        points = next(package.parent.glob(f"zoo_y{number}-*.dist-info")) / "entry_points.txt"
        points.write_text(f"[zoo.plugins]\n{name} = zoo_y{number}\n")
    rows = installed_plugins()
    assert [row.status for row in rows if row.name == "zoo-x"] == ["ok"]
    hostile = [row for row in rows if "is not a valid plugin name" in str(row.problem)]
    assert len(hostile) == 3
    for row in hostile:
        assert is_plain(row.name, "")
        assert len(row.name) < 100
        assert "pip uninstall zoo-y" in str(row.problem)


@pytest.mark.parametrize("version", ["\x1b[2J1.0", "../1.0", "1" * 5000])
def test_a_version_that_is_none_is_not_shown(plugin_site, version):
    write_plugin(plugin_site, "zoo-x", tomli_w.dumps(HONEST))
    metadata = next(plugin_site.glob("zoo_x-*.dist-info")) / "METADATA"
    metadata.write_text(f"Metadata-Version: 2.1\nName: zoo-x\nVersion: {version}\n")
    (plugin,) = (plugin for plugin in installed_plugins() if plugin.name == "zoo-x")
    assert plugin.version == "unknown"


def test_a_hostile_entry_of_a_registry_is_named_and_the_others_are_read(tmp_path):
    package = {"version": "1.0", "license": "mit"}
    honest = {**HONEST, "package": package}
    hostile = [
        {**manifest(("plugin", "name"), "../x"), "package": package},
        {**manifest(("model", 1, "weights", "embedded"), "/etc"), "package": package},
        {**manifest(("model", 0, "summary"), "\x1b[2J"), "package": package},
        {**HONEST, "package": {**package, "version": "\x1b[2J"}},
        {**HONEST, "package": {**package, "version": "../1"}},
        {**HONEST, "package": {**package, "license": "\u202emit"}},
        {**HONEST, "package": {**package, "wheel": "../../x.whl", "sha256": "0" * 64}},
        {**HONEST, "package": {**package, "wheel": "file:///x.whl", "sha256": "0" * 64}},
        {**HONEST, "package": {**package, "deep": nested(50)}},
    ]
    keys = ["name", "embedded", "summary", "version", "version", "license", "wheel", "wheel", "a"]
    file = tmp_path / "registry.toml"
    file.write_text(tomli_w.dumps({"manifest": [*hostile, honest]}))
    registry = read_registry(file, "theirs")
    assert [entry.name for entry in registry.entries] == ["zoo-x"]
    problems = [problem.message for problem in registry.problems]
    assert len(problems) == len(hostile)
    for key, message in zip(keys, problems, strict=True):
        assert f"{key}: expected " in message
        assert is_plain(message, "")


# --- The pieces --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "a/b", "a..b", "weights/model.safetensors", ".hidden", "a/./b"])
def test_honest_paths_are_inside(name):
    assert is_inside(name)


@pytest.mark.parametrize("value", [LONG, [LONG] * 100, nested(500), {LONG: LONG}, "\x1b", object(), 10**4000])
def test_whatever_is_shown_is_short_and_plain(value):
    assert len(short_repr(value)) < 600
    assert is_plain(short_repr(value), "")


def test_a_problem_is_one_a_user_can_act_on():
    with pytest.raises(ZooError):
        read_manifest({"schema": 1, "\x1b": 1}, "zoo.toml", None)
