"""zoo plugins, enable, disable and doctor."""

from __future__ import annotations

import json

import pytest

from zoo_core.testing.plugins import write_plugin

pytestmark = pytest.mark.slow

MANIFEST = 'schema = 1\n[plugin]\nname = "{0}"\nsummary = "Another plugin"\n'


@pytest.fixture
def menagerie(toy, plugin_site):
    """Beside zoo-toy: plugins that are broken, each in its own way."""
    write_plugin(
        plugin_site, "zoo-raises", MANIFEST.format("zoo-raises"), "raise ValueError('no luck today')"
    )
    write_plugin(plugin_site, "zoo-garbled", "schema = = 1", "raise AssertionError('imported')")
    write_plugin(
        plugin_site, "zoo-needy", MANIFEST.format("zoo-needy"), "import nowhere", requires=["nowhere>=2"]
    )
    duplicate = '[[command]]\nname = "greet"\nhelp = "Again."\ntarget = "zoo_twin:greet"\n'
    write_plugin(
        plugin_site, "zoo-twin", MANIFEST.format("zoo-twin") + duplicate, "raise AssertionError('imported')"
    )
    hook = "from zoo_core import hookimpl\n@hookimpl\ndef zoo_no_such_hook(): pass\n"
    write_plugin(plugin_site, "zoo-future", MANIFEST.format("zoo-future"), hook)


REMEDIES = {
    "zoo-raises": ("ValueError: no luck today", "zoo disable zoo-raises"),
    "zoo-garbled": ("not valid TOML", "Correct that file"),
    "zoo-needy": ("needs nowhere, which is not installed", "pip install 'nowhere>=2'"),
    "zoo-twin": ("already belongs to zoo-toy", "zoo disable"),
    "zoo-future": ("zoo_no_such_hook", "zoo install --upgrade zoo-future"),
}


@pytest.mark.usefixtures("menagerie")
def test_every_broken_plugin_is_a_row_with_its_remedy_and_the_rest_works(zoo):
    rows = {row["name"]: row for row in json.loads(zoo("plugins", "--json").out)}

    assert rows["zoo-toy"]["status"] == "ok"
    for name, (problem, remedy) in REMEDIES.items():
        assert rows[name]["status"] == "broken"
        assert problem in rows[name]["problem"]
        assert remedy in rows[name]["remedy"]
    assert zoo("run", "toy-grey", "--seed", "1", "-o", "x.png").status == 0
    listed = zoo("list", "toy-*")
    assert listed.status == 0
    assert "zoo-garbled is broken, and its models are missing here. See why: zoo doctor" in listed.err
    assert zoo("greet", "Ada").out == "Hello, Ada.\n"


@pytest.mark.usefixtures("menagerie")
def test_doctor_names_every_problem_with_its_remedy_and_fails(zoo):
    status, out, _ = zoo("doctor")
    assert status == 1
    for problem, remedy in REMEDIES.values():
        assert problem in out
        assert remedy in out
    report = json.loads(zoo("doctor", "--json").out)
    assert len(report["problems"]) == len(REMEDIES)
    assert report["environment"]["torch"]


@pytest.mark.usefixtures("menagerie")
def test_a_broken_plugin_that_is_disabled_is_no_problem_any_more(zoo):
    for name in REMEDIES:
        assert zoo("disable", name).status == 0
    status, out, _ = zoo("doctor")
    assert status == 0
    assert "No problems found." in out
    assert "Enable it: zoo enable zoo-raises" in out


@pytest.mark.usefixtures("toy")
def test_a_disabled_plugins_models_are_gone_until_it_is_enabled(zoo):
    zoo("disable", "zoo-toy")
    assert zoo("run", "toy-grey").err == (
        "Error: toy-grey is provided by zoo-toy, which is disabled.\nEnable it: zoo enable zoo-toy\n"
    )
    zoo("enable", "zoo-toy")
    assert zoo("show", "toy-grey").status == 0
