"""A command."""

from __future__ import annotations

import click


@click.command()
def hello():
    """Greet."""
    click.echo("Hello from 0.2.")
