"""``zoo convert``: a foreign checkpoint becomes one that can be run."""

from __future__ import annotations

from pathlib import Path

import click

from zoo_core.catalog import Catalog
from zoo_core.cli.console import say


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="A new folder for the model."
)
def convert(file: Path, output: Path) -> None:
    """Make a model of a foreign checkpoint.

    Nothing in the file is run. The folder gets model.safetensors and config.json, which says of which file
    they are.
    """
    from zoo_core.plugins.host import PluginHost
    from zoo_core.weights.conversion import convert as convert_file

    plugin = convert_file(file, PluginHost(Catalog.read().plugins).converters(file), output)
    click.echo(f"{output}")
    say(f"Converted by {plugin}. Run it: zoo run {output if output.is_absolute() else f'./{output}'}")
