"""``zoo completion``, and the completion of models and plugins."""

from __future__ import annotations

import click
from click.shell_completion import CompletionItem, get_completion_class

from zoo_core.environment import Environment

SETUP = {
    "bash": '~/.bashrc:  eval "$(zoo completion bash)"',
    "zsh": '~/.zshrc:   eval "$(zoo completion zsh)"',
    "fish": "~/.config/fish/config.fish:  zoo completion fish | source",
}


def complete_models(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the models whose id starts with ``incomplete``, with their summaries."""
    return [
        CompletionItem(card.id, help=card.summary)
        for card in Environment.current().catalog.match(f"{incomplete}*")
        if card.id.startswith(incomplete)
    ]


def complete_plugins(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Return the installed plugins whose name starts with ``incomplete``."""
    plugins = Environment.current().catalog.plugins
    return [CompletionItem(p.name) for p in plugins if p.name.startswith(incomplete)]


def complete_known_plugins(
    ctx: click.Context, param: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Return the registries' plugins whose name starts with ``incomplete``, with their summaries."""
    entries = Environment.current().catalog.entries.values()
    return [CompletionItem(e.name, help=e.manifest.summary) for e in entries if e.name.startswith(incomplete)]


@click.command(
    epilog="\b\nTo enable it permanently, add a line to the shell's start-up file:\n"
    + "\n".join(SETUP.values())
)
@click.argument("shell", type=click.Choice(list(SETUP)))
def completion(shell: str) -> None:
    """Print a shell completion script.

    It completes commands, options, model names and plugin names.
    """
    from zoo_core.cli import cli

    kind = get_completion_class(shell)
    assert kind is not None  # click knows each of the shells offered
    click.echo(kind(cli, {}, "zoo", "_ZOO_COMPLETE").source())
