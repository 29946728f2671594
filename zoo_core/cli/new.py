"""``zoo new``: create a complete, publishable plugin that runs at once."""

from __future__ import annotations

from pathlib import Path

import click

from zoo_core.cli.console import say
from zoo_core.environment import Environment
from zoo_core.scaffold import (
    BLUEPRINTS,
    FAMILIES,
    LICENSES,
    OUTPUTS,
    check_name,
    contents,
    write_plugin_folder,
)


@click.command()
@click.argument("plugin")
@click.option("--family", type=click.Choice(FAMILIES), help="Kind of model. [default: gan]")
@click.option(
    "--output",
    type=click.Choice(OUTPUTS),
    help="Kind of sample. [default: by family]",
)
@click.option(
    "--license", "license_", type=click.Choice(list(LICENSES)), default="mit", show_default=True,
    help="Licence of the code and the weights.",
)  # fmt: skip
@click.option("--training", is_flag=True, help="Add a trainer for zoo train.")
def new(plugin: str, family: str | None, output: str | None, license_: str, training: bool) -> None:
    """Create a plugin.

    Writes a folder PLUGIN (such as zoo-mymodel) with a manifest, hooks, a small network of the chosen family
    with random weights, tests, a README and a licence. You can install, run and check it at once.
    """
    blueprint = next(
        (b for b in BLUEPRINTS if family in (None, b.family) and output in (None, b.output)), None
    )
    if blueprint is None:
        others = " or ".join(b.family for b in BLUEPRINTS if b.output == output)
        raise click.UsageError(f"--family {family} does not generate {output}s. Give --family {others}.")
    if training and blueprint.suffix:
        raise click.UsageError(f"zoo train has no {blueprint.output} data. Leave out --training.")
    names = check_name(plugin, Environment.current().catalog)
    folder = Path(plugin)
    write_plugin_folder(folder, contents(blueprint, names, license_, training=training))
    click.echo(str(folder))
    in_files = blueprint.image or blueprint.suffix
    sheet = " -n 16 --seed 0 -o samples.png" if in_files else " -n 4 --seed 0"
    say(
        f"Install it:  pip install -e {folder}\n"
        f"Run it:      zoo run {names.model}{sheet}\n"
        f"Check it:    zoo check {names.plugin}"
    )
