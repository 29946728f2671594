"""``zoo doctor``: what is installed, what is broken, and how to fix it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from zoo_core import files
from zoo_core.catalog import Catalog
from zoo_core.cli.console import json_option, megabytes, print_fields, print_json
from zoo_core.cli.plugins import plugin_as_json, print_plugins
from zoo_core.environment import Environment
from zoo_core.errors import PluginError, ZooError
from zoo_core.plugins.import_probe import check_plugins

HUB_VARIABLES = ("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE")


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Find what is broken, and how to fix it.

    Imports every enabled plugin in a separate process, with a time limit. Exits with status 1 if something is
    broken. Notes are for a plugin's author and do not count.
    """
    from zoo_core.installing import is_interrupted

    environment = Environment.current()
    fields, problems = _environment(environment.catalog)
    plugins = check_plugins(environment.catalog.plugins, again=True)
    problems += [plugin.problem for plugin in plugins if plugin.problem]
    if is_interrupted():
        problems.append(
            PluginError(
                "An installation was interrupted, and some of its files are here.",
                "Run zoo install again: it first restores the environment.",
            )
        )
    if as_json:
        print_json(
            {
                "environment": fields,
                "plugins": [plugin_as_json(plugin) for plugin in plugins],
                "problems": [{"problem": p.message, "remedy": p.remedy} for p in problems],
            }
        )
    else:
        print_fields(fields)
        click.echo()
        print_plugins(plugins)
        click.echo()
        for problem in problems:
            click.echo(
                f"{click.style('Problem:', fg='red', bold=True)} {problem.message}\n  {problem.remedy}"
            )
        for note in (note for plugin in plugins for note in plugin.notes):
            click.echo(f"{click.style('Note:', fg='yellow', bold=True)} {note.message}\n  {note.remedy}")
        if not problems:
            click.echo("No problems found.")
    if problems:
        click.get_current_context().exit(1)


def _environment(catalog: Catalog) -> tuple[dict[str, Any], list[ZooError]]:
    """Return versions, folders and variables of this installation, and problems other than plugins."""
    from zoo_core.weights import cache_folder

    problems: list[ZooError] = []
    cache = cache_folder()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    fields = {
        "zoo-core": importlib.metadata.version("zoo-core"),
        "Python": f"{platform.python_version()} ({sys.executable})",
        "torch": _version("torch"),
        "Compiled step": _compiled_step(),
        "huggingface-hub": _version("huggingface-hub"),
        "Zoo data": str(files.data_dir()),
        "Hub cache": f"{cache} ({megabytes(free)} free)",
        **{name: os.environ[name] for name in HUB_VARIABLES if name in os.environ},
        "HF_TOKEN": "set" if os.environ.get("HF_TOKEN") else "not set",
    }
    if not os.access(existing, os.W_OK):
        problems.append(
            ZooError(f"The Hub cache {cache} is not writable.", "Set HF_HOME to a writable folder.")
        )
    try:
        problems += [problem for registry in catalog.registries for problem in registry.problems]
    except ZooError as problem:
        problems.append(problem)
    for state in ("disabled.json", "checked.json", "lock.json"):
        try:
            files.read_json(Path(files.data_dir(), state), default=None)
        except ZooError as problem:
            problems.append(problem)
    return fields, problems


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _compiled_step() -> str:
    """Say whether text models run compiled code on this CPU."""
    from zoo_core.kernels.decoder.native import missing

    reason = missing()
    return f"no, torch computes: {reason}" if reason else "yes"
