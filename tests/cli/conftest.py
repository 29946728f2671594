"""A plugin to type commands at, and a way to type them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from zoo_core.cli import main
from zoo_core.testing.plugins import write_plugin

TOY_MANIFEST = """
schema = 1
[plugin]
name = "zoo-toy"
summary = "Plain images and counting words"

[options.steps]
type = "integer"
default = 3
minimum = 1
maximum = 1000
description = "How many steps."

[[model]]
id = "toy-grey"
aliases = ["someone/toy"]
summary = "grey squares"
family = "toy"
output = "image"
license = "mit"
paper = "arXiv:0000.00000"
cite = "@misc{toy}"
parameters = 12345
weights = { embedded = "weights" }
[model.options.level]
type = "number"
minimum = -1.0
maximum = 1.0
per_sample = true
description = "The grey; left out, it is drawn."
[model.options.frame]
type = "boolean"
default = false
description = "Draw a frame."

[[model]]
id = "toy-words"
summary = "a word and its seed"
family = "toy"
output = "text"
license = "cc-by-4.0"
prompt = "required"
weights = { embedded = "weights" }

[[model]]
id = "toy-hub"
summary = "grey squares whose weights are on the Hub"
family = "toy"
output = "image"
license = "mit"
weights = { repo = "someone/toy-hub", files = ["config.json"] }

[[command]]
name = "greet"
help = "Greet somebody."
target = "zoo_toy.commands:greet"
"""

TOY_SOURCE = """
from zoo_core import Step, hookimpl

@hookimpl
def zoo_create_generator(card, device):
    return Words() if card.output == "text" else Grey()

class Grey:
    dtype = "float32"
    batch_size = 4
    def generate(self, batch):
        import torch
        drawn = batch.noise.uniform(1, 8, 8) * 2 - 1
        levels = getattr(batch.options, "level", (None,) * batch.n)
        rows = [row if level is None else torch.full((1, 8, 8), level) for row, level in zip(drawn, levels)]
        for index in range(1, batch.options.steps + 1):
            yield Step(index, batch.options.steps, torch.stack(rows) * index / batch.options.steps)

class Words:
    dtype = "float32"
    def generate(self, batch):
        words = zip(batch.prompts, batch.noise.seeds)
        yield Step(texts=tuple(f"{prompt} {seed}" for prompt, seed in words))
"""

TOY_COMMANDS = """
import click

@click.command()
@click.argument("name")
def greet(name):
    click.echo(f"Hello, {name}.")
"""


@pytest.fixture
def toy(plugin_site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The plugin zoo-toy, installed; the working folder is an empty one. Returns the plugin's folder."""
    folder = write_plugin(
        plugin_site,
        "zoo-toy",
        TOY_MANIFEST,
        TOY_SOURCE,
        files={"commands.py": TOY_COMMANDS, "weights/config.json": "{}"},
    )
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    return folder


class Outcome(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str


Zoo = Callable[..., Outcome]


@pytest.fixture
def zoo(capsys: pytest.CaptureFixture[str]) -> Zoo:
    """Type ``zoo ...`` into a pipe."""

    def run(*words: str) -> Outcome:
        with pytest.raises(SystemExit) as left:
            main(words)
        captured = capsys.readouterr()
        return Outcome(int(left.value.code or 0), captured.out, captured.err)

    return run
