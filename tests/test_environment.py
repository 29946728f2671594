"""The environment: a command reads the manifests once and builds one plugin host."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import zoo_core
from zoo_core.cli import main
from zoo_core.environment import Environment, shared_environment
from zoo_core.plugins import discovery
from zoo_core.plugins.host import PluginHost
from zoo_core.testing import write_plugin

MANIFEST = """
schema = 1
[plugin]
name = "zoo-pair"
summary = "Two models and a command"
[[model]]
id = "pair-grey"
summary = "grey squares"
family = "pair"
output = "image"
license = "mit"
weights = { embedded = "weights" }
[[command]]
name = "pair"
help = "Load a model twice, and look up extractors and trainers."
target = "zoo_pair.commands:pair"
"""
SOURCE = """
from zoo_core import Step, hookimpl

@hookimpl
def zoo_create_generator(card, device):
    return Grey()

class Grey:
    dtype = "float32"
    def generate(self, batch):
        yield Step(images=batch.noise.uniform(1, 8, 8) * 2 - 1)
"""
COMMANDS = """
import click
import zoo_core

@click.command()
def pair():
    models = [zoo_core.load("pair-grey"), zoo_core.load("pair-grey")]
    zoo_core.extractors(), zoo_core.trainers()
    click.echo(f"{len(models)} models")
"""


@pytest.fixture(autouse=True)
def pair(plugin_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The plugin zoo-pair, installed; the working folder is an empty one."""
    files = {"commands.py": COMMANDS, "weights/config.json": "{}"}
    write_plugin(plugin_site, "zoo-pair", MANIFEST, SOURCE, files=files)
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the manifests were read, and a plugin host was built."""
    counts = {"manifests": 0, "hosts": 0}
    inspect_all, build = discovery._inspect_all, PluginHost.__init__

    def counted_inspect_all():
        counts["manifests"] += 1
        return inspect_all()

    def counted_build(self, plugins):
        counts["hosts"] += 1
        build(self, plugins)

    monkeypatch.setattr(discovery, "_inspect_all", counted_inspect_all)
    monkeypatch.setattr(PluginHost, "__init__", counted_build)
    return counts


def run(*words: str) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert not left.value.code


@pytest.mark.parametrize(
    ("words", "hosts"),
    [
        (["--help"], 0),
        (["list"], 0),
        (["search", "grey"], 0),
        (["show", "pair-grey"], 0),
        (["plugins"], 0),
        (["pull", "pair-grey"], 0),
        (["run", "pair-grey", "--help"], 0),
        (["run", "pair-grey", "--seed", "1", "-o", "x.png"], 1),
        (["pair"], 1),
        (["disable", "zoo-pair"], 0),
    ],
)
def test_a_command_reads_the_manifests_once(reads, words, hosts):
    run(*words)
    assert reads == {"manifests": 1, "hosts": hosts}


def test_replay_reads_the_manifests_once(reads):
    run("run", "pair-grey", "--seed", "1", "-o", "x.png")
    reads.update(manifests=0, hosts=0)
    run("replay", "x.png")
    assert reads == {"manifests": 1, "hosts": 1}


def test_a_completion_reads_the_manifests_once(reads, monkeypatch, capsys):
    monkeypatch.setenv("_ZOO_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "zoo show pair-")
    monkeypatch.setenv("COMP_CWORD", "2")
    with pytest.raises(SystemExit):
        main([])
    assert capsys.readouterr().out == "plain,pair-grey\n"
    assert reads == {"manifests": 1, "hosts": 0}


def test_outside_of_a_command_a_new_plugin_is_found_at_once(plugin_site):
    zoo_core.load("pair-grey")
    card = MANIFEST.replace("zoo-pair", "zoo-other").replace("pair-grey", "other-grey")
    write_plugin(
        plugin_site,
        "zoo-other",
        card[: card.index("[[command]]")],
        SOURCE,
        files={"weights/config.json": json.dumps({})},
    )
    assert zoo_core.load("other-grey").card.plugin == "zoo-other"


def test_the_environment_is_shared_only_within_its_block():
    with shared_environment():
        shared = Environment.current()
        assert Environment.current() is shared
        assert Environment.current().host is shared.host
    assert Environment.current() is not shared
