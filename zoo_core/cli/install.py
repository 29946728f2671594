"""``zoo install`` and ``zoo uninstall``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from zoo_core.cli.completion import complete_known_plugins, complete_plugins
from zoo_core.errors import PluginError, ZooError
from zoo_core.plugins.discovery import InstalledPlugin, disabled_plugins, installed_plugins

if TYPE_CHECKING:
    from zoo_core.installing import Change, Installer, Request


@click.command()
@click.argument("plugin", metavar="NAME[==VERSION]", shell_complete=complete_known_plugins)
@click.option("--upgrade", is_flag=True, help="Take the newest version, even if one is installed.")
@click.option(
    "--unlisted",
    is_flag=True,
    help="Install what no registry lists: a folder, a wheel, an https address, a package's name.",
)
@click.option(
    "--build",
    is_flag=True,
    help="Also build packages that have no wheel (folders, source archives). This runs their code.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def install(plugin: str, upgrade: bool, unlisted: bool, build: bool, yes: bool) -> None:
    """Install or update a plugin.

    NAME is a plugin that zoo search shows. What would be installed is shown first, with its licence and where
    it comes from; its author's code will run on this machine, so install only what you trust. pip does the
    work, or uv where it made the environment. torch and the core stay as they are. If anything fails, the new
    plugin's quick check included, the environment is put back as it was.
    """
    from zoo_core.installing import (
        ask_registries,
        installer_of_this_environment,
        refuse_to_build,
        take_unlisted,
    )
    from zoo_core.installing import install as install_changes
    from zoo_core.registry import refresh, registries

    here = {each.name: each for each in installed_plugins()}
    if unlisted:
        request = take_unlisted(plugin)
    else:
        for problem in refresh():
            click.echo(f"{problem.message}\n{problem.remedy}", err=True)
        request = ask_registries(plugin, registries())
    present = here.get(request.name or "")
    if present and not upgrade and present.status != "broken" and request.version in (None, present.version):
        click.echo(f"{present.name} {present.version} is installed already.")
        return
    flags = [*(["--upgrade"] if upgrade else []), *(["--unlisted"] if unlisted else [])]
    _want_a_yes(f"Installing {plugin}", ["install", *flags, plugin], yes)
    installer = installer_of_this_environment()
    if not build:
        refuse_to_build(request.requirement)
    changes = installer.plan(
        request.requirement,
        upgrade=upgrade,
        repair=present is not None and present.status == "broken",
        build=build,
    )
    if not changes:
        click.echo(f"{plugin} is installed already, and nothing newer is to be had.")
        return
    _show(request, changes, installer)
    if not yes:
        click.confirm(f"Install {plugin}?", abort=True, err=True)
    for name in install_changes(changes, installer):
        click.echo(f"{name} {_version(name)} is installed, and passed its quick check.")
        if name in disabled_plugins():
            click.echo(f"It is disabled; use it: zoo enable {name}")


@click.command()
@click.argument("plugin", shell_complete=complete_plugins)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def uninstall(plugin: str, yes: bool) -> None:
    """Remove a plugin.

    What it needed stays, and so do the weights it fetched: zoo rm MODEL.
    """
    from zoo_core.installing import installer_of_this_environment
    from zoo_core.plugins.host import set_enabled

    plugins = installed_plugins()
    found = {each.name: each for each in plugins}.get(plugin)
    if found is None:
        raise PluginError(f"The plugin {plugin} is not installed.", "See which are: zoo plugins")
    distribution = found.distribution.name if found.distribution else plugin
    version = found.version
    _want_a_yes(f"Removing {plugin}", ["uninstall", plugin], yes)
    if not yes:
        click.confirm(f"Remove {distribution} {version}?", abort=True, err=True)
    installer_of_this_environment().remove([distribution])
    set_enabled(plugin, True, plugins)  # installed again, it is to be used
    click.echo(f"{distribution} {version} is removed.")


def _show(request: Request, changes: Sequence[Change], installer: Installer) -> None:
    """What would be installed, whose it is, and on what terms."""
    entry = request.entry
    for change in changes:
        if entry is None or change.name.lower() != entry.name:
            was = f", now {change.previous}" if change.previous else ""
            licence = f" ({change.license.strip().splitlines()[0][:60]})" if change.license else ""
            click.echo(f"  {change.name} {change.version}{licence}{was}")
            continue
        was = f", now {change.previous}" if change.previous else ""
        click.echo(f"{entry.name} {change.version}{was}: {entry.manifest.summary}")
        click.echo(f"  Licence      {entry.package.license}")
        click.echo(f"  Source       {entry.package.source or entry.package.wheel or 'not told'}")
        click.echo(f"  Known from   the registry {entry.registry}")
        licences = sorted({card.license for card in entry.manifest.models})
        if licences:
            click.echo(f"  Models       {len(entry.manifest.models)}, licences: {', '.join(licences)}")
    if entry is None:
        click.echo(f"  from {request.requirement}, which no registry lists")
    click.echo(f"  By {installer.name}, into {sys.prefix}")


def _want_a_yes(doing: str, words: Sequence[str], yes: bool) -> None:
    """Where nobody can be asked, the yes must be given beforehand."""
    if not yes and not sys.stdin.isatty():
        verb, *rest = words
        raise ZooError(f"{doing} wants a yes.", f"Say so: zoo {' '.join([verb, '--yes', *rest])}")


def _version(name: str) -> str:
    found: InstalledPlugin | None = {each.name: each for each in installed_plugins()}.get(name)
    return found.version if found else ""
