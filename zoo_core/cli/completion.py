"""``zoo completion``: the script that makes a shell complete zoo's words."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

SETUP = {
    "bash": 'eval "$(zoo completion bash)"   in ~/.bashrc',
    "zsh": 'eval "$(zoo completion zsh)"   in ~/.zshrc',
    "fish": "zoo completion fish | source   in ~/.config/fish/config.fish",
}


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
