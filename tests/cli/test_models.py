"""zoo list, show and search."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from zoo_core.testing.plugins import write_plugin

pytestmark = pytest.mark.usefixtures("toy")


def test_list_shows_a_row_for_each_installed_model(zoo):
    status, out, err = zoo("list", "toy*")

    assert (status, err) == (0, "")
    heading, *rows = out.splitlines()
    assert heading.split() == ["Model", "Makes", "Family", "Size", "Licence", "Weights", "Summary"]
    assert [row.split()[0] for row in rows] == ["toy-grey", "toy-hub", "toy-words"]
    assert "12.3K" in rows[0]
    assert "built in" in rows[0]
    assert "on the Hub" in rows[1]


def test_ls_is_list(zoo):
    assert zoo("ls").out == zoo("list").out


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["its seed"], ["toy-words"]),
        (["TOY-W"], ["toy-words"]),
        (["*grey"], ["toy-grey"]),
        (["someone/*"], ["toy-grey"]),
        (["--output", "text", "--plugin", "zoo-toy"], ["toy-words"]),
        (["--plugin", "zoo-other"], []),
    ],
)
def test_list_narrows_by_pattern_output_and_plugin(zoo, arguments, expected):
    found = json.loads(zoo("list", "--json", *arguments).out)
    assert [card["id"] for card in found] == expected


def test_a_list_that_found_nothing_says_so_beside_the_result(zoo):
    status, out, err = zoo("list", "zebra")
    assert (status, out) == (0, "")
    assert err == "No installed model matches.\nSee all known models: zoo list --all\n"


def test_search_looks_into_summaries_of_all_known_models(zoo):
    assert "toy-words" in zoo("search", "seed").out
    assert (
        zoo("search", "no-such-thing").err
        == "No known model matches.\nSee all known models: zoo list --all\n"
    )


def test_show_tells_everything_a_card_says(zoo):
    out = zoo("show", "someone/toy").out
    for fact in ("toy-grey", "grey squares", "mit", "arXiv:0000.00000", "12.3K", "zoo-toy", "@misc{toy}"):
        assert fact in out
    assert "--level" in out
    assert "a number from -1 to 1" in out


def test_show_prints_json_and_nothing_else(zoo):
    card = json.loads(zoo("show", "toy-hub", "--json").out)
    assert card["weights"]["repo"] == "someone/toy-hub"
    assert card["options"]["steps"]["maximum"] == 1000
    assert card["installed"] is True


def test_reading_verbs_import_neither_torch_nor_a_plugin():
    watch = (
        "import sys; from zoo_core.cli import main\n"
        "try: main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'numpy', 'PIL', 'huggingface_hub', 'zoo_toy', 'zoo_ddpm'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    for words in (["list"], ["list", "--all"], ["show", "toy-grey"], ["search", "grey"], ["--help"],
                  ["run", "toy-grey", "--help"], ["plugins"], ["enable", "zoo-toy"]):  # fmt: skip
        done = subprocess.run(
            [sys.executable, "-c", watch, *words], capture_output=True, text=True, check=True
        )
        assert done.stdout.splitlines()[-1] == "[]", words


LABELLED = """
schema = 1
[plugin]
name = "zoo-labelled"
summary = "Labels"
[[model]]
id = "labelled"
summary = "grey squares with labels"
family = "diffusion"
output = "image"
license = "mit"
weights = { embedded = "weights" }
[model.options.label]
type = "integer"
minimum = 0
per_sample = true
description = "Class."
"""


@pytest.mark.parametrize(
    ("config", "shown", "remedy"),
    [
        ({"zoo": {"class_names": ["cat", "dog"]}}, "0 to 1: 0 cat, 1 dog", "Give 0 to 1 (cat, dog)."),
        ({"zoo": {"class_names": ["0", "1"]}}, "0 to 1", "Give 0 to 1."),
        ({"num_class_embeds": 11, "zoo": {"null_class": 10}}, "0 to 9", "Give 0 to 9."),
        (
            {"id2label": {"0": "tench", "1": "shark"}},
            "0 to 1: 0 tench, 1 shark",
            "Give 0 to 1 (tench, shark).",
        ),
        ({"num_class_embeds": None, "zoo": None, "id2label": 7}, None, None),
    ],
)
def test_labels_are_known_before_a_model_is_loaded(zoo, plugin_site, config, shown, remedy):
    write_plugin(plugin_site, "zoo-labelled", LABELLED, files={"weights/config.json": json.dumps(config)})
    told = dict(line.split(None, 1) for line in zoo("show", "labelled").out.splitlines() if " " in line)
    assert told.get("Labels") == shown
    if remedy:
        assert f"Class. [{shown}]" in " ".join(zoo("run", "labelled", "--help").out.split())
        refused = zoo("run", "labelled", "--label", "99", "-o", "x.png").err
        assert refused.startswith("Error: --label 99: this model has ")
        assert refused.splitlines()[1] == remedy


def test_list_finds_models_by_family_and_plugin(zoo, plugin_site):
    write_plugin(plugin_site, "zoo-labelled", LABELLED, files={"weights/config.json": "{}"})
    for word in ("diffusion", "ZOO-LABELLED", "squares with"):
        assert "labelled" in [card["id"] for card in json.loads(zoo("list", word, "--json").out)]
    assert "labelled" not in [card["id"] for card in json.loads(zoo("list", "*diffusion*", "--json").out)]


def test_a_command_of_a_plugin_that_cannot_be_used_names_the_plugin(zoo, monkeypatch):
    zoo("disable", "zoo-toy")
    assert zoo("greet", "you") == (
        1,
        "",
        "Error: zoo greet belongs to the plugin zoo-toy, which is disabled.\nEnable it: zoo enable zoo-toy\n",
    )
    monkeypatch.setattr("zoo_core.plugins.discovery.entry_points", lambda group: [])  # nothing is installed
    assert zoo("list", "diffusion").err.startswith("No installed model matches, but ")
    for verb, plugin in (("invert", "zoo-stylegan"), ("eval", "zoo-eval"), ("train", "zoo-train")):
        assert zoo(verb).err == (
            f"Error: zoo {verb} belongs to the plugin {plugin}, which is not installed.\n"
            f"Install it: zoo install {plugin}\n"
        )
