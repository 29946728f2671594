"""``zoo plugins``, ``enable`` and ``disable``."""

from __future__ import annotations

from typing import Any

import click

from zoo_core.cli.completion import complete_plugins
from zoo_core.cli.console import json_option, print_json, print_table, say
from zoo_core.plugins.discovery import InstalledPlugin, installed_plugins
from zoo_core.plugins.host import set_enabled
from zoo_core.plugins.import_probe import check_plugins


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
