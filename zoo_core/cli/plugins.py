"""``zoo plugins``, ``zoo enable`` and ``zoo disable``."""

from __future__ import annotations

from typing import Any

import click

from zoo_core.cli.completion import complete_plugins
from zoo_core.cli.console import json_option, print_json, print_table, say
from zoo_core.environment import Environment
from zoo_core.plugins.discovery import InstalledPlugin
from zoo_core.plugins.host import set_enabled
from zoo_core.plugins.import_probe import check_plugins


@click.command("plugins")
@json_option
def list_plugins(as_json: bool) -> None:
    """List the installed plugins.

    A new plugin is imported once, in a separate process, to see whether it works; zoo doctor imports all of
    them again.
    """
    plugins = check_plugins(Environment.current().catalog.plugins)
    if as_json:
        print_json([plugin_as_json(plugin) for plugin in plugins])
        return
    print_plugins(plugins)
    if not plugins:
        say("No plugin is installed. See the known models: zoo list --all")


@click.command()
@click.argument("plugin", shell_complete=complete_plugins)
def enable(plugin: str) -> None:
    """Enable a disabled plugin."""
    changed = set_enabled(plugin, True, Environment.current().catalog.plugins)
    say(f"{plugin} is enabled." if changed else f"{plugin} is already enabled.")


@click.command()
@click.argument("plugin", shell_complete=complete_plugins)
def disable(plugin: str) -> None:
    """Disable a plugin without removing it."""
    changed = set_enabled(plugin, False, Environment.current().catalog.plugins)
    say(f"{plugin} is disabled." if changed else f"{plugin} is already disabled.")


def print_plugins(plugins: list[InstalledPlugin]) -> None:
    """Print one row a plugin; a problem and its remedy replace the summary."""
    rows = []
    for plugin in plugins:
        models = str(len(plugin.manifest.models)) if plugin.manifest else ""
        if plugin.problem:
            note = f"{plugin.problem.message} {plugin.problem.remedy}"
        elif plugin.status == "disabled":
            note = f"Enable it: zoo enable {plugin.name}"
        elif plugin.notes:
            note = " ".join(f"{each.message} {each.remedy}" for each in plugin.notes)
        else:
            note = plugin.manifest.summary if plugin.manifest else ""
        rows.append((plugin.name, plugin.version, plugin.status, models, note))
    print_table(("Plugin", "Version", "Status", "Models", "Note"), rows)


def plugin_as_json(plugin: InstalledPlugin) -> dict[str, Any]:
    """Return a plugin's row as plain data."""
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
