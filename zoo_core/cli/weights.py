"""``zoo pull``, ``zoo rm``, ``zoo cache`` and ``zoo convert``: get and delete weights."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click

from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import (
    json_option,
    megabytes,
    print_json,
    print_table,
    require_terminal,
    say,
    working,
    write,
)
from zoo_core.environment import Environment
from zoo_core.manifest.cards import HubWeights, ModelCard

if TYPE_CHECKING:
    from zoo_core.weights.conversion import Reader


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_models)
@click.option("--update", is_flag=True, help="Take the newest commit of models whose card pins none.")
@click.option("--dry-run", is_flag=True, help="Show what would be downloaded, and download nothing.")
@json_option
def pull(models: tuple[str, ...], update: bool, dry_run: bool, as_json: bool) -> None:
    """Download the weights of models.

    Every file is verified, after the download and before each use. An interrupted pull keeps the files that
    are complete.
    """
    from zoo_core.weights import Plan, get_checkpoint, plan
    from zoo_core.weights.conversion import converted

    environment = Environment.current()
    rows = []

    def announce(due: Plan) -> None:
        size = f", {megabytes(due.bytes)}" if due.bytes is not None else ""
        say(f"Downloading {len(due.files)} files of {due.repo}{size} ...")

    for card in [environment.resolve(model, update=update and not dry_run) for model in models]:
        due = plan(card, update=update)
        row: dict[str, object] = {
            "model": card.id,
            "fetch": [file.name for file in due.files] if due else [],
            "bytes": due.bytes if due else 0,
        }
        if not dry_run:
            with working(quiet=as_json or bool(row["fetch"])) as tell:
                tell(f"Verifying {card.id}")
                checkpoint = get_checkpoint(
                    card,
                    update=update,
                    progress=not as_json,
                    announce=announce,
                    check=partial(environment.check_config, card),
                )
            checkpoint = converted(checkpoint, partial(_readers, environment, card.plugin), say)
            row |= {"source": checkpoint.source, "digest": checkpoint.digest}
        rows.append(row)
        if not as_json:
            _tell(card, row, dry_run)
    if as_json:
        print_json(rows)


@click.command("rm")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_models)
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
def remove(models: tuple[str, ...], yes: bool) -> None:
    """Delete the downloaded weights of models.

    MODEL may also be ORG/REPO, hf:ORG/REPO or its address, which deletes every revision of that repository.
    The cache is shared: other tools that use the same repository will have to download it again.
    """
    from zoo_core.weights import parse_hub_name
    from zoo_core.weights import remove as remove_weights
    from zoo_core.weights.conversion import remove_conversions

    catalog = Environment.current().catalog
    # The plugin may be gone already, so a card that is merely known will do.
    targets: list[ModelCard | str] = [
        catalog.known_or_installed(model)
        or ((name := parse_hub_name(model)) and name.repo)
        or catalog.find(model)
        for model in models
    ]
    for model, target in zip(models, targets, strict=True):
        if not yes:
            require_terminal(f"remove {model}", f"zoo rm --yes {model}")
            click.confirm(f"Remove the weights of {model} from the Hub cache?", abort=True, err=True)
        freed = remove_weights(target)
        if isinstance(target, str):
            remove_conversions(target)
        elif isinstance(target.weights, HubWeights):
            remove_conversions(target.weights.repo, target.weights.revision)
        write(f"{model}: {megabytes(freed)} freed")


@click.command()
@json_option
def cache(as_json: bool) -> None:
    """List what is in the Hub cache."""
    from zoo_core.weights import cache_report
    from zoo_core.weights.conversion import bytes_of_conversions

    catalog = Environment.current().catalog
    report = cache_report([*catalog.models.values(), *catalog.known.values()])
    converted = bytes_of_conversions()
    if as_json:
        print_json(asdict(report) | {"bytes": report.bytes, "converted": converted})
        return
    rows = [
        (repo.repo, megabytes(repo.bytes), ", ".join(repo.models) or ("" if repo.ours else "other tools"))
        for repo in report.repos
    ]
    print_table(("Repository", "Size", "Used by"), rows)
    write(f"{megabytes(report.bytes)} in {report.folder}")
    if converted:
        click.echo(f"{megabytes(converted)} more in converted checkpoints; zoo rm MODEL deletes them too.")
    if report.abandoned:
        click.echo(
            f"{megabytes(report.abandoned)} more in incomplete files; the next pull downloads them again."
        )


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), required=True, help="A new folder for the model."
)
def convert(file: Path, output: Path) -> None:
    """Convert a foreign checkpoint to safetensors.

    FILE is a checkpoint in a format that an installed plugin can read. No code in it is run. The new folder
    gets model.safetensors and config.json, which records the name and digest of FILE.
    """
    plugin = Environment.current().convert(file, output)
    click.echo(f"{output}")
    say(f"Converted by {plugin}. Run it: zoo run {output if output.is_absolute() else f'./{output}'}")


def _readers(environment: Environment, plugin: str, path: Path) -> Mapping[str, Reader]:
    """Return the plugin's converters; the plugin host is built only now, when a file needs one."""
    return environment.host.converters(path, only=plugin)


def _tell(card: ModelCard, row: dict[str, object], dry_run: bool) -> None:
    size = row["bytes"]
    amount = megabytes(size) if isinstance(size, int) else "an unknown size"
    if not isinstance(card.weights, HubWeights):
        write(f"{card.id}: nothing to download, its weights are {'built in' if card.plugin else 'local'}")
    elif not row["fetch"]:
        write(f"{card.id}: already downloaded{'' if dry_run else ', verified'}")
    elif dry_run:
        write(f"{card.id}: would download {', '.join(map(str, row['fetch']))} ({amount})")  # type: ignore[call-overload]
    else:
        write(f"{card.id}: downloaded and verified ({amount})")
