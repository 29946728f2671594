"""``zoo install`` and ``zoo uninstall``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from zoo_core.cli.completion import complete_known_plugins, complete_plugins
from zoo_core.cli.console import print_problem, require_terminal, write
from zoo_core.environment import Environment
from zoo_core.errors import PluginError, visible
from zoo_core.plugins.discovery import InstalledPlugin, disabled_plugins

if TYPE_CHECKING:
    from zoo_core.installing import Change, Installer, Request


@click.command()
@click.argument("plugin", metavar="NAME[==VERSION]", shell_complete=complete_known_plugins)
@click.option("--upgrade", is_flag=True, help="Install the newest version, even if one is installed.")
@click.option(
    "--unlisted",
    is_flag=True,
    help="Install a plugin that no registry lists: a folder, a wheel, an https URL or a package name.",
)
@click.option(
    "--build",
    is_flag=True,
    help="Also build packages that have no wheel (folders, source archives). This runs their code.",
)
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
def install(plugin: str, upgrade: bool, unlisted: bool, build: bool, yes: bool) -> None:
    """Install or update a plugin.

    NAME is a plugin that zoo search shows. Its version, licence and source are shown before anything is
    installed. A plugin's code runs on this machine: install only what you trust.

    Packages are installed with pip, or with uv in an environment that uv made. torch and zoo-core are never
    changed. If the installation or the plugin's quick check fails, the environment is restored.
    """
    from zoo_core.installing import (
        ask_registries,
        installer_of_this_environment,
        refuse_to_build,
        take_unlisted,
    )
    from zoo_core.installing import install as install_changes
    from zoo_core.registry import refresh, registries

    _undo_interrupted()
    here = _installed()
    if unlisted:
        request = take_unlisted(plugin)
    else:
        for problem in refresh():
            print_problem(problem)
        request = ask_registries(plugin, registries())
    present = here.get(request.name or "")
    if present and not upgrade and present.status != "broken" and request.version in (None, present.version):
        click.echo(f"{present.name} {present.version} is already installed.")
        return
    chosen = {"--upgrade": upgrade, "--unlisted": unlisted, "--build": build}
    flags = [flag for flag, given in chosen.items() if given]
    if not yes:
        require_terminal(f"install {plugin}", " ".join(["zoo install --yes", *flags, plugin]))
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
        click.echo(f"{plugin} is up to date.")
        return
    _show(request, changes, installer)
    if not yes:
        click.confirm(f"Install {plugin}?", abort=True, err=True)
    changed = install_changes(changes, installer)
    after = _installed()
    for name in changed:
        click.echo(f"{name} {after[name].version} is installed and passed its quick check.")
        if name in disabled_plugins():
            click.echo(f"It is disabled. Enable it: zoo enable {name}")


@click.command()
@click.argument("plugin", shell_complete=complete_plugins)
@click.option("--yes", "-y", is_flag=True, help="Do not ask for confirmation.")
def uninstall(plugin: str, yes: bool) -> None:
    """Remove a plugin.

    Its dependencies and the weights it downloaded are kept; zoo rm MODEL deletes weights.
    """
    from zoo_core.installing import installer_of_this_environment
    from zoo_core.plugins.host import set_enabled

    _undo_interrupted()
    plugins = _installed()
    found = plugins.get(plugin)
    if found is None:
        raise PluginError(f"The plugin {plugin} is not installed.", "See the installed plugins: zoo plugins")
    distribution = found.distribution.name if found.distribution else plugin
    version = found.version
    if not yes:
        require_terminal(f"remove {plugin}", f"zoo uninstall --yes {plugin}")
        click.confirm(f"Remove {distribution} {version}?", abort=True, err=True)
    installer_of_this_environment().remove([distribution])
    set_enabled(plugin, True, list(plugins.values()))  # so that it is enabled if it is installed again
    click.echo(f"{distribution} {version} is removed.")


def _undo_interrupted() -> None:
    from zoo_core.installing import undo_interrupted

    if undo_interrupted():
        write("An installation was interrupted before; the environment is restored.", err=True)


def _show(request: Request, changes: Sequence[Change], installer: Installer) -> None:
    """Print what would be installed, from where, and under which licence."""
    entry = request.entry
    for change in changes:
        was = f", now {change.previous}" if change.previous else ""
        if entry is None or change.name.lower() != entry.name:
            first_line = (change.license or "").strip().partition("\n")[0]
            licence = f" ({visible(first_line, 60)})" if first_line else ""
            write(f"  {visible(change.name, 100)} {visible(change.version, 60)}{licence}{was}")
            continue
        write(f"{entry.name} {visible(change.version, 60)}{was}: {visible(entry.manifest.summary, 200)}")
        write(f"  Licence      {visible(entry.package.license, 100)}")
        write(f"  Source       {visible(entry.package.source or entry.package.wheel or 'unknown', 300)}")
        write(f"  Listed in    registry {entry.registry}")
        licences = sorted({card.license for card in entry.manifest.models})
        if licences:
            listed = visible(", ".join(licences), 300)
            write(f"  Models       {len(entry.manifest.models)}, licences: {listed}")
    if entry is None:
        write(f"  from {visible(request.requirement, 300)}, which no registry lists")
    click.echo(f"  By {installer.name}, into {sys.prefix}")


def _installed() -> dict[str, InstalledPlugin]:
    """Return the installed plugins by name, read anew: installing changes them."""
    return {each.name: each for each in Environment.read().catalog.plugins}
