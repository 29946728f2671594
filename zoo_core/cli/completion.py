"""``zoo completion``: the script that makes a shell complete zoo's words."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from zoo_core.catalog import Catalog
from zoo_core.plugins.discovery import installed_plugins

SETUP = {
    "bash": 'eval "$(zoo completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(zoo completion zsh)"   in ~/.zshrc',
    "fish": "zoo completion fish | source   in ~/.config/fish/config.fish",
}


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Models whose id begins so, with their summaries."""
    return [
        CompletionItem(card.id, help=card.summary)
        for card in Catalog.read().match(f"{incomplete}*")
        if card.id.startswith(incomplete)
    ]


def complete_plugins(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Installed plugins whose name begins so."""
    return [CompletionItem(p.name) for p in installed_plugins() if p.name.startswith(incomplete)]


def complete_known_plugins(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Plugins of the registries whose name begins so, with their summaries."""
    entries = Catalog.read().entries.values()
    return [CompletionItem(e.name, help=e.manifest.summary) for e in entries if e.name.startswith(incomplete)]


@click.command(
    epilog="To keep it, put a line into the shell's start-up file: " + "; ".join(SETUP.values()) + "."
)
@click.argument("shell", type=click.Choice(list(SETUP)))
def completion(shell: str) -> None:
    """Print the script that completes zoo's words.

    It completes verbs, flags, model names and plugin names.
    """
    from zoo_core.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None  # click knows each of the shells offered
    click.echo(kind(cli, {}, "zoo", "_ZOO_COMPLETE").source())
