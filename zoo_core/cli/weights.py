"""``zoo pull``, ``zoo rm`` and ``zoo cache``: the weights in the Hub cache, which other tools share."""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial

import click

from zoo_core.catalog import Catalog
from zoo_core.cli.completion import complete_models
from zoo_core.cli.console import json_option, megabytes, print_json, print_table, say
from zoo_core.errors import ZooError
from zoo_core.manifest.cards import HubWeights, ModelCard


@click.command()
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_models)
@click.option("--update", is_flag=True, help="Take the newest commit of models that are not pinned to one.")
@click.option("--dry-run", is_flag=True, help="Say what would be fetched, and fetch nothing.")
@json_option
def pull(models: tuple[str, ...], update: bool, dry_run: bool, as_json: bool) -> None:
    """Fetch the weights of models.

    Every file is verified, now and whenever it is used. A pull that was cut off keeps its whole files.
    """
    from zoo_core.plugins.host import PluginHost
    from zoo_core.running.resolve import resolve
    from zoo_core.weights import Plan, get_checkpoint, plan
    from zoo_core.weights.conversion import converted

    catalog = Catalog.read()
    host = PluginHost(catalog.plugins)
    rows = []

    def announce(due: Plan) -> None:
        size = f", {megabytes(due.bytes)}" if due.bytes is not None else ""
        say(f"Fetching {len(due.files)} files of {due.repo}{size} ...")

    for card in [resolve(model, catalog, update=update and not dry_run) for model in models]:
        due = plan(card, update=update)
        row: dict[str, object] = {
            "model": card.id,
            "fetch": [file.name for file in due.files] if due else [],
            "bytes": due.bytes if due else 0,
        }
        if not dry_run:
            checkpoint = get_checkpoint(card, update=update, progress=not as_json, announce=announce)
            checkpoint = converted(checkpoint, partial(host.converters, only=card.plugin), say)
            row |= {"source": checkpoint.source, "digest": checkpoint.digest}
        rows.append(row)
        if not as_json:
            _tell(card, row, dry_run)
    if as_json:
        print_json(rows)


@click.command("rm")
@click.argument("models", nargs=-1, required=True, metavar="MODEL...", shell_complete=complete_models)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def remove(models: tuple[str, ...], yes: bool) -> None:
    """Remove the fetched weights of models.

    MODEL may also be hf:ORG/REPO: then every revision of that repository goes. The cache is shared: other
    tools that use the same repository will have to fetch it again.
    """
    from zoo_core.running.resolve import HUB_PREFIX
    from zoo_core.weights import remove as remove_weights
    from zoo_core.weights.conversion import remove_conversions

    catalog = Catalog.read()
    targets: list[ModelCard | str] = [
        model.removeprefix(HUB_PREFIX) if model.startswith(HUB_PREFIX) else _card(model, catalog)
        for model in models
    ]
    for name, target in zip(models, targets, strict=True):
        if not yes:
            if not sys.stdin.isatty():
                raise ZooError(f"Removing {name} wants a yes.", f"Say so: zoo rm --yes {name}")
            click.confirm(f"Remove the weights of {name} from the Hub cache?", abort=True, err=True)
        freed = remove_weights(target)
        if isinstance(target, str):
            remove_conversions(target)
        elif isinstance(target.weights, HubWeights):
            remove_conversions(target.weights.repo, target.weights.revision)
        click.echo(f"{name}: {megabytes(freed)} freed")


@click.command()
@json_option
def cache(as_json: bool) -> None:
    """Show what the Hub cache holds."""
    from zoo_core.weights import cache_report
    from zoo_core.weights.conversion import bytes_of_conversions

    catalog = Catalog.read()
    report = cache_report([*catalog.models.values(), *catalog.known.values()])
    converted = bytes_of_conversions()
    if as_json:
        print_json(asdict(report) | {"bytes": report.bytes, "converted": converted})
        return
    rows = [
        (repo.repo, megabytes(repo.bytes), ", ".join(repo.models) or ("" if repo.ours else "another tool's"))
        for repo in report.repos
    ]
    print_table(("Repository", "Size", "Used by"), rows)
    click.echo(f"{megabytes(report.bytes)} in {report.folder}")
    if converted:
        click.echo(f"{megabytes(converted)} more in what was converted; zoo rm MODEL takes that along.")
    if report.abandoned:
        click.echo(
            f"{megabytes(report.abandoned)} more in files that were cut off; the next pull fetches them anew."
        )


def _card(name: str, catalog: Catalog) -> ModelCard:
    # What is to be removed need not be runnable: its plugin may be gone already.
    return catalog.known_or_installed(name) or catalog.find(name)


def _tell(card: ModelCard, row: dict[str, object], dry_run: bool) -> None:
    size = row["bytes"]
    amount = megabytes(size) if isinstance(size, int) else "an unknown size"
    if not isinstance(card.weights, HubWeights):
        click.echo(f"{card.id}: nothing to fetch, its weights are {'built in' if card.plugin else 'local'}")
    elif not row["fetch"]:
        click.echo(f"{card.id}: here{'' if dry_run else ' and verified'}")
    elif dry_run:
        click.echo(f"{card.id}: would fetch {', '.join(map(str, row['fetch']))} ({amount})")  # type: ignore[call-overload]
    else:
        click.echo(f"{card.id}: fetched and verified ({amount})")
