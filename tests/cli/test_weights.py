"""zoo pull, rm and cache, against a loopback Hub over HTTP."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zoo_core.testing.hub import LoopbackHub

pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture
def hub(loopback_hub: LoopbackHub) -> LoopbackHub:
    loopback_hub.add("someone/toy-hub", {"config.json": b"{}"})
    return loopback_hub


def test_a_model_is_pulled_listed_run_and_removed(zoo, hub):
    assert "on the Hub" in zoo("list", "toy-hub").out
    assert zoo("pull", "toy-hub", "--dry-run").out == "toy-hub: would download config.json (2 B)\n"
    assert zoo("pull", "toy-hub").out == "toy-hub: downloaded and verified (2 B)\n"
    assert zoo("pull", "toy-hub").out == "toy-hub: already downloaded, verified\n"
    assert "downloaded" in zoo("list", "toy-hub").out
    assert "someone/toy-hub  2 B" in zoo("cache").out
    assert zoo("run", "toy-hub", "--seed", "1", "-o", "x.png").status == 0
    assert zoo("rm", "--yes", "toy-hub").status == 0
    assert "on the Hub" in zoo("list", "toy-hub").out


def test_run_fetches_what_is_not_here(zoo, hub):
    assert zoo("run", "toy-hub", "--seed", "1", "-o", "x.png").status == 0
    assert hub.count("GET", "*/config.json") == 1


def test_a_first_pull_pins_the_commit_until_an_update(zoo, hub):
    first = json.loads(zoo("pull", "toy-hub", "--json").out)[0]["source"]
    hub.add("someone/toy-hub", {"config.json": b'{"new": 1}'})
    assert json.loads(zoo("pull", "toy-hub", "--json").out)[0]["source"] == first
    assert json.loads(zoo("pull", "toy-hub", "--update", "--json").out)[0]["source"] != first


def test_what_is_built_in_need_not_be_pulled(zoo):
    assert zoo("pull", "toy-grey").out == "toy-grey: nothing to download, its weights are built in\n"


@pytest.mark.parametrize(
    ("variable", "value", "message", "remedy"),
    [
        ("HF_HUB_OFFLINE", "1", "not in the cache", "Unset HF_HUB_OFFLINE"),
        ("HF_ENDPOINT", "http://127.0.0.1:9", "cannot be reached", "Check the network and HF_ENDPOINT"),
    ],
)
def test_without_a_hub_the_reason_is_given(zoo, hub, monkeypatch, variable, value, message, remedy):
    monkeypatch.setenv(variable, value)
    outcome = zoo("run", "toy-hub", "-o", "x.png")
    assert outcome.status == 1
    assert message in outcome.err
    assert remedy in outcome.err
    assert not Path("x.png").exists()


def test_a_repository_that_no_plugin_can_run(zoo, hub):
    hub.add("someone/other", {"config.json": b'{"model_type": "riddle"}'})
    outcome = zoo("run", "hf:someone/other")
    assert outcome.status == 1
    assert "hf:someone/other" in outcome.err
    assert len(outcome.err.splitlines()) == 2


RULE = """
[[checkpoint]]
summary = "a toy"
family = "toy"
output = "image"
config = "config.json"
where = { model_type = "toy" }
files = []
weights = "model"
"""


def test_a_repository_without_a_card_keeps_its_commit_until_an_update(zoo, hub, toy):
    manifest = toy / "zoo.toml"
    manifest.write_text(manifest.read_text() + RULE)
    files = {"config.json": b'{"model_type": "toy"}', "model.safetensors": b"one"}
    first = hub.add("someone/bare", files)
    assert json.loads(zoo("pull", "hf:someone/bare", "--json").out)[0]["source"].endswith(first)
    second = hub.add("someone/bare", files | {"model.safetensors": b"two"})
    assert json.loads(zoo("pull", "hf:someone/bare", "--json").out)[0]["source"].endswith(first)
    assert json.loads(zoo("pull", "hf:someone/bare", "--update", "--json").out)[0]["source"].endswith(second)
    assert zoo("run", "hf:someone/bare", "--seed", "1", "-o", "x.png").status == 0
