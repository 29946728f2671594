"""``zoo registry``: list, update, build and check registries."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from zoo_core.cli.console import json_option, print_json, print_problem, print_table, say, write
from zoo_core.errors import PluginError, RegistryError, ZooError
from zoo_core.registry import Registry, configured, refresh, registries
from zoo_core.registry.addresses import is_address

if TYPE_CHECKING:
    from zoo_core.registry.check import Finding


@click.group()
def registry() -> None:
    """List, update, build and check plugin registries.

    A registry lists plugins, with their models and the source each is installed from. One is built in. Add
    others to config.toml in the zoo's data folder (zoo doctor shows where that is):

    \b
    [registries]
    acme = "https://zoo.acme.example/registry.toml"
    mine = "~/models/registry.toml"

    If several registries list a plugin, the first one counts. The built-in registry comes last.
    """


@registry.command("list")
@json_option
def list_registries(as_json: bool) -> None:
    """List the registries, by precedence.

    The column Hidden counts plugins that an earlier registry lists too.
    """
    seen: set[str] = set()
    rows = []
    for each in registries():
        names = {entry.name for entry in each.entries}
        rows.append((each, sorted(names & seen)))
        seen |= names
    if as_json:
        print_json([_as_json(each, hidden) for each, hidden in rows])
        return
    print_table(
        ("Registry", "Plugins", "Models", "Hidden", "Location"),
        [
            (each.name, str(len(each.entries)), str(_models(each)), str(len(hidden)), each.location)
            for each, hidden in rows
        ],
    )
    for each, _ in rows:
        for problem in each.problems:
            print_problem(problem, source=f"{each.name}: ")


def _as_json(found: Registry, hidden: list[str]) -> dict[str, Any]:
    return {
        "name": found.name,
        "location": found.location,
        "plugins": [entry.name for entry in found.entries],
        "models": _models(found),
        "hidden": hidden,
        "for_other_cores": sorted(found.for_other_cores),
        "problems": [{"problem": p.message, "remedy": p.remedy} for p in found.problems],
    }


def _models(found: Registry) -> int:
    return sum(len(entry.manifest.models) for entry in found.entries)


@registry.command()
def update() -> None:
    """Download the registries that are given by URL.

    zoo search and zoo install do this once a day. A download is kept only if it is a valid registry.
    """
    addresses = {name: location for name, location in configured().items() if is_address(location)}
    if not addresses:
        click.echo("No registry is given by URL.")
        return
    problems = refresh(again=True)
    for found in registries():
        if found.name in addresses and found.entries:
            write(f"{found.name}: {len(found.entries)} plugins")
    if problems:
        raise problems[0]


@registry.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("-o", "output", type=click.Path(path_type=Path), help="The file to write. [default: print it]")
@click.option("--check", is_flag=True, help="Write nothing, and exit with status 1 if the file would change.")
def build(sources: tuple[str, ...], output: Path | None, check: bool) -> None:
    """Build a registry from the manifests of plugins.

    SOURCE is a plugin's source folder, a wheel in the registry's folder, the name of an installed plugin, or
    a registry (.toml) to update. Without SOURCE, all installed plugins are listed.
    """
    from zoo_core.registry.build import build as build_text

    if check and output is None:
        raise click.UsageError("--check needs the file to check: -o FILE")
    text = build_text(sources, output.parent if output else Path())
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        before = output.read_text(encoding="utf-8") if output.exists() else None
        if check and before != text:
            raise RegistryError(
                f"{output} is out of date.", f"Rebuild it: zoo registry build {' '.join(sources)} -o {output}"
            )
        if not check and before != text:
            from zoo_core.files import write_atomically

            write_atomically(output, text.encode(), overwrite=True)
    except (OSError, UnicodeDecodeError) as error:
        raise RegistryError(f"{output} cannot be read: {error}.", "Repair or remove that file.") from None


@registry.command()
@click.argument("file", required=False)
@click.option("--resolve", is_flag=True, help="Also ask pip or uv whether each plugin is available.")
@json_option
def check(file: str | None, resolve: bool, as_json: bool) -> None:
    """Check a registry: names, versions, pins, digests, licences.

    FILE is a registry's file or the name of a configured registry. Without FILE, all configured registries
    are checked. Exits with status 1 if there are errors, but not for warnings.
    """
    from zoo_core.registry.check import check_registry

    found = {
        each.location: [*check_registry(each), *(_resolve(each) if resolve else ())] for each in _chosen(file)
    }
    errors = sum(finding.level == "error" for findings in found.values() for finding in findings)
    if as_json:
        print_json(
            [
                {"registry": location, "findings": [asdict(finding) for finding in findings]}
                for location, findings in found.items()
            ]
        )
    else:
        for location, findings in found.items():
            rows = [
                (f.level, f.check, f.model or f.plugin or "", f"{f.message} {f.remedy}") for f in findings
            ]
            print_table(("Level", "Check", "Name", "Problem and remedy"), rows)
            mistakes = sum(finding.level == "error" for finding in findings)
            write(f"{location}: {mistakes} errors, {len(findings) - mistakes} warnings")
    if errors:
        sys.exit(1)


@registry.command()
@click.option("-o", "output", type=click.Path(path_type=Path), required=True, help="The folder to write to.")
@click.option(
    "--samples",
    type=click.Path(path_type=Path),
    help="A folder with MODEL.png or MODEL.txt, to show what models make.",
)
@click.option(
    "--make-samples", is_flag=True, help="Make those that are missing, of models that are built in."
)
@click.option("--registry", "name", metavar="NAME", help="Only this registry.")
def page(output: Path, samples: Path | None, make_samples: bool, name: str | None) -> None:
    """Build a static directory of plugins and models, in HTML without scripts.

    It has samples, licences, options and the lines to type. What registries say is escaped.
    """
    from zoo_core.registry.page import write_pages

    if make_samples:
        from zoo_core.cli.registry_samples import make_missing

        if samples is None:
            raise click.UsageError("--make-samples needs a folder for them: --samples FOLDER")
        make_missing(samples)
    found = _chosen(name)
    for each in found:
        for problem in each.problems:
            print_problem(problem, source=f"{each.name}: ")
    pages = write_pages([entry for each in found for entry in each.entries], output, samples)
    write(f"{output / 'index.html'}")
    say(f"{pages} pages.")


def _resolve(found: Registry) -> Iterator[Finding]:
    """Yield an error for each plugin that is not available."""
    from zoo_core.installing import installer_of_this_environment, requirement_of
    from zoo_core.registry.check import Finding

    installer = installer_of_this_environment()
    for entry in found.entries:
        try:
            installer.find(requirement_of(entry))
        except PluginError as problem:
            yield Finding("error", "version", entry.name, None, problem.message, problem.remedy)


def _chosen(file: str | None) -> tuple[Registry, ...]:
    from zoo_core.registry import read_registry

    everything = registries()
    if file is None:
        return everything
    if named := tuple(each for each in everything if each.name == file):
        return named
    try:
        return (read_registry(Path(file), Path(file).name),)
    except ZooError as problem:
        return (Registry(Path(file).name, file, problems=(problem,)),)
