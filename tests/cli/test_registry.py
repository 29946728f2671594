"""zoo registry, and zoo search over all registries."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_core.registry import config_file

pytestmark = pytest.mark.usefixtures("toy")

ENTRY = """\
[[manifest]]
schema = 1
plugin = { name = "zoo-afar", summary = "A plugin" }
package = { version = "1.0", license = "MIT" }
[[manifest.model]]
id = "afar"
summary = "{0}"
family = "gan"
output = "image"
license = "mit"
weights = { embedded = "weights" }
"""


@pytest.fixture
def acme(served):
    """A company's registry behind an address, configured."""
    (served.folder / "registry.toml").write_text(ENTRY.replace("{0}", "images from afar"))
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text(f'[registries]\nacme = "{served.address}/registry.toml"\n')
    return served


def test_search_fetches_registries_and_shows_where_each_model_is_known_from(zoo, acme):
    status, out, err = zoo("search", "images")
    assert (status, err) == (0, "")
    rows = {line.split()[0]: line.split()[-1] for line in out.splitlines()}
    assert (rows["Model"], rows["afar"]) == ("From", "acme")
    found = {card["id"]: card for card in json.loads(zoo("search", "afar", "--json").out)}
    assert (found["afar"]["registry"], found["afar"]["installed"]) == ("acme", False)
    assert json.loads(zoo("search", "toy-grey", "--json").out)[0]["registry"] is None
    assert "registry acme" in zoo("show", "afar").out
    acme.stop()
    assert zoo("search", "afar").status == 0


def test_search_goes_on_without_a_registry_that_cannot_be_fetched(zoo, acme):
    acme.stop()
    status, out, err = zoo("search", "grey")
    assert status == 0
    assert "toy-grey" in out
    assert "cannot be fetched" in err


def test_list_and_update_tell_what_each_registry_has(zoo, acme):
    assert "has not been fetched yet" in zoo("registry", "list").err
    assert zoo("registry", "update").out == "acme: 1 plugins\n"
    first, last = json.loads(zoo("registry", "list", "--json").out)
    assert (first["name"], first["plugins"], first["models"]) == ("acme", ["zoo-afar"], 1)
    assert last["name"] == "built-in"
    acme.stop()
    outcome = zoo("registry", "update")
    assert (outcome.status, outcome.out) == (1, "acme: 1 plugins\n")
    assert "cannot be fetched" in outcome.err


def test_update_without_an_address_says_so(zoo):
    assert zoo("registry", "update").out == "No registry is given by URL.\n"


def test_a_registry_is_built_checked_and_told_when_it_is_out_of_date(zoo, tmp_path):
    Path("mine.toml").write_text(ENTRY.replace("{0}", "images"))
    built = zoo("registry", "build", "mine.toml").out
    assert zoo("registry", "build", "mine.toml", "-o", "out.toml").status == 0
    assert Path("out.toml").read_text() == built
    assert zoo("registry", "build", "mine.toml", "-o", "out.toml", "--check").status == 0
    Path("mine.toml").write_text(ENTRY.replace("{0}", "other images"))
    outcome = zoo("registry", "build", "mine.toml", "-o", "out.toml", "--check")
    assert outcome.status == 1
    assert "out.toml is out of date" in outcome.err
    assert "zoo registry build mine.toml -o out.toml" in outcome.err
    assert Path("out.toml").read_text() == built
    assert zoo("registry", "build", "--check").status == 2


def test_check_tells_errors_from_warnings(zoo):
    Path("mine.toml").write_text(ENTRY.replace("{0}", "images"))
    assert zoo("registry", "check", "mine.toml").out == "mine.toml: 0 errors, 0 warnings\n"
    Path("mine.toml").write_text(ENTRY.replace("{0}", "images").replace('license = "mit"', 'license = "own"'))
    status, out, _ = zoo("registry", "check", "mine.toml")
    assert (status, out.splitlines()[-1]) == (0, "mine.toml: 0 errors, 1 warnings")
    Path("mine.toml").write_text(ENTRY + ENTRY)
    assert zoo("registry", "check", "mine.toml").status == 1
    (report,) = json.loads(zoo("registry", "check", "mine.toml", "--json").out)
    assert [finding["check"] for finding in report["findings"]] == ["schema"]
    assert zoo("registry", "check", "nowhere.toml").status == 1


def test_the_built_in_registry_has_no_errors(zoo):
    (report,) = json.loads(zoo("registry", "check", "built-in", "--json").out)
    assert [finding for finding in report["findings"] if finding["level"] == "error"] == []


def test_doctor_names_a_registry_that_cannot_be_read(zoo):
    config_file().parent.mkdir(parents=True, exist_ok=True)
    config_file().write_text('[registries]\nmine = "nowhere.toml"\n')
    assert "nowhere.toml" in zoo("doctor").out
    config_file().write_text("[registries")
    assert "config.toml" in zoo("doctor").out
    assert zoo("list").status == 0


def test_registry_verbs_import_neither_torch_nor_a_plugin():
    watch = (
        "import sys; from zoo_core.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'PIL', 'huggingface_hub', 'zoo_toy', 'zoo_ddpm'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    for words in (["registry", "list"], ["registry", "check"], ["registry", "--help"]):
        done = subprocess.run(
            [sys.executable, "-c", watch, *words], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]", words
