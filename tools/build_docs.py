"""Build docs/cli.md, models.md and checks.md from the command line, the cards and the checks there are.

Usage: python tools/build_docs.py [--check]

With --check nothing is written; the status is 1 if a file is not what it should be.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import click

from zoo_core.cli import cli
from zoo_core.cli.console import count_of
from zoo_core.manifest.cards import HubWeights, ModelCard, TrainerCard
from zoo_core.registry import BUILT_IN, read_registry
from zoo_core.testing.conformance.checks import explanation

ROOT = Path(__file__).resolve().parent.parent
NOTE = "<!-- Built by tools/build_docs.py; do not edit. -->\n\n"


def build_cli() -> str:
    """Every verb with its help text, as it is printed."""
    top = click.Context(cli, info_name="zoo", terminal_width=100, **cli.context_settings)
    pages = [f"# The command line\n\n{NOTE}```\n{cli.get_help(top)}\n```\n"]
    for name in cli.list_commands(top):
        command = cli.get_command(top, name)
        assert command is not None
        ctx = click.Context(command, top, info_name=name)
        pages.append(f"## zoo {name}\n\n```\n{command.get_help(ctx)}\n```\n")
        for word, part in command.commands.items() if isinstance(command, click.Group) else ():
            inner = click.Context(part, ctx, info_name=word)
            pages.append(f"### zoo {name} {word}\n\n```\n{part.get_help(inner)}\n```\n")
    return "\n".join(pages)


def build_models() -> str:
    """A table of all models and of all that can be trained."""
    manifests = [entry.manifest for entry in read_registry(ROOT / "registry.toml", BUILT_IN).entries]
    cards = sorted((card for manifest in manifests for card in manifest.models), key=lambda card: card.id)
    trainers = [trainer for manifest in manifests for trainer in manifest.trainers]
    lines = [
        f"# Models\n\n{NOTE}`zoo show MODEL` tells more: options, pinned hashes, how to cite.\n",
        "| Model | Makes | Size | Licence | Paper | Weights |",
        "|---|---|---|---|---|---|",
        *map(_row, cards),
        "\n# What can be trained\n",
        *map(_trainer, trainers),
    ]
    return "\n".join(lines) + "\n"


def build_checks() -> str:
    """Every check of the conformance suite: what it proves, why, and what to do where it fails."""
    how = "`zoo check PLUGIN` runs them on a plugin and on its models; an author's tests inherit them."
    return f"# The conformance suite\n\n{NOTE}{how}\n\n{explanation()}\n"


def _row(card: ModelCard) -> str:
    weights = card.weights
    if isinstance(weights, HubWeights):
        where = f"{weights.repo} @ {weights.revision[:7]}" if weights.revision else weights.repo
    else:
        where = f"built into {card.plugin}"
    size = count_of(card.parameters) if card.parameters else ""
    name = f"`{card.id}`: {card.summary}"
    return f"| {name} | {card.output} | {size} | {card.license} | {card.paper or ''} | {where} |"


def _trainer(trainer: TrainerCard) -> str:
    options = "\n".join(f"- `{o.flag}` {o.expects}: {o.description}" for o in trainer.options.values())
    return f"`zoo train {trainer.name}` ({trainer.plugin}): {trainer.summary}.\n\n{options}"


def main() -> None:
    """Write the files, or check them."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail if a file is out of date")
    check = parser.parse_args().check
    pages = {"cli.md": build_cli(), "models.md": build_models(), "checks.md": build_checks()}
    for name, text in pages.items():
        path = ROOT / "docs" / name
        if check and (not path.exists() or path.read_text(encoding="utf-8") != text):
            sys.exit(f"{path.relative_to(ROOT)} is out of date.\nRun: python tools/build_docs.py")
        if not check:
            path.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
