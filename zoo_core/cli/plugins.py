"""``zoo plugins``, ``install``, ``uninstall``, ``enable`` and ``disable``."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import click

from zoo_core.catalog import Catalog
from zoo_core.cli.completion import complete_plugins
from zoo_core.cli.console import json_option, print_json, print_table, say
from zoo_core.errors import PluginError
from zoo_core.manifest import InstalledPlugin, installed_plugins
from zoo_core.plugins import set_enabled
from zoo_core.probe import check_plugins


@click.command("plugins")
@json_option
def list_plugins(as_json: bool) -> None:
    """List the installed plugins.

    A plugin is tried once, in a process of its own; zoo doctor tries all of them again.
    """
    plugins = check_plugins(installed_plugins())
    if as_json:
        print_json([plugin_as_json(plugin) for plugin in plugins])
        return
    print_plugins(plugins)
    if not plugins:
        say("No plugin is installed. See which are known: zoo list --all")


@click.command()
@click.argument("plugin")
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def install(plugin: str, yes: bool) -> None:
    """Install or update a plugin.

    PLUGIN is a name that zoo list --all or zoo search shows, or the folder or wheel of one. pip does the
    work; what it installs can run code of its author's, so install only what you trust.
    """
    path = Path(plugin)
    known = set(Catalog.read().entries)
    if not path.exists() and plugin not in known and not yes:
        # Anyone can give a package any name: one that nobody listed is not installed by a slip of the pen.
        raise PluginError(
            f"The registry knows no plugin {plugin!r}.",
            f"Check the name (zoo list --all); if you trust that package: zoo install --yes {plugin}",
        )
    _pip("install", "--upgrade", str(path.resolve()) if path.exists() else plugin)
    for found in check_plugins(installed_plugins(), again=True):
        if found.name == plugin and found.problem:
            raise found.problem


@click.command()
@click.argument("plugin", shell_complete=complete_plugins)
@click.option("--yes", "-y", is_flag=True, help="Do not ask.")
def uninstall(plugin: str, yes: bool) -> None:
    """Remove a plugin.

    The weights it fetched stay in the Hub cache: zoo rm MODEL.
    """
    found = {each.name: each for each in installed_plugins()}.get(plugin)
    if found is None:
        raise PluginError(f"The plugin {plugin} is not installed.", "See which are: zoo plugins")
    distribution = found.distribution.name if found.distribution else plugin
    if not yes:
        click.confirm(f"Remove {distribution} {found.version}?", abort=True, err=True)
    _pip("uninstall", "--yes", distribution)


@click.command()
@click.argument("plugin", shell_complete=complete_plugins)
def enable(plugin: str) -> None:
    """Use a disabled plugin again."""
    changed = set_enabled(plugin, True, installed_plugins())
    say(f"{plugin} is enabled." if changed else f"{plugin} was enabled already.")


@click.command()
@click.argument("plugin", shell_complete=complete_plugins)
def disable(plugin: str) -> None:
    """Keep a plugin installed, but do not use it."""
    changed = set_enabled(plugin, False, installed_plugins())
    say(f"{plugin} is disabled." if changed else f"{plugin} was disabled already.")


def print_plugins(plugins: list[InstalledPlugin]) -> None:
    """A row a plugin: what is wrong with it, and the remedy, where its summary would stand."""
    rows = []
    for plugin in plugins:
        models = str(len(plugin.manifest.models)) if plugin.manifest else ""
        if plugin.problem:
            note = f"{plugin.problem.message} {plugin.problem.remedy}"
        elif plugin.status == "disabled":
            note = f"Use it again: zoo enable {plugin.name}"
        elif plugin.notes:
            note = " ".join(f"{each.message} {each.remedy}" for each in plugin.notes)
        else:
            note = plugin.manifest.summary if plugin.manifest else ""
        rows.append((plugin.name, plugin.version, plugin.status, models, note))
    print_table(("Plugin", "Version", "Status", "Models", "Note"), rows)


def plugin_as_json(plugin: InstalledPlugin) -> dict[str, Any]:
    """A plugin's row as plain data."""
    return {
        "name": plugin.name,
        "version": plugin.version,
        "status": plugin.status,
        "summary": plugin.manifest.summary if plugin.manifest else None,
        "models": [card.id for card in plugin.manifest.models] if plugin.manifest else [],
        "problem": plugin.problem.message if plugin.problem else None,
        "remedy": plugin.problem.remedy if plugin.problem else None,
        "notes": [{"note": note.message, "remedy": note.remedy} for note in plugin.notes],
    }


def _pip(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "pip", *arguments], check=False)
    if done.returncode:
        raise PluginError(
            f"pip could not do it (status {done.returncode}).",
            "Its own words are above; nothing else was changed.",
        )
