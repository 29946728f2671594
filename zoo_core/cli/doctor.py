"""``zoo doctor``: what is installed, what is broken, and the remedy."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import shutil
import sys
from pathlib import Path
from typing import Any

import click

from zoo_core import files, paths
from zoo_core.cli.console import json_option, megabytes, print_fields, print_json
from zoo_core.cli.plugins import plugin_as_json, print_plugins
from zoo_core.errors import ZooError
from zoo_core.plugins.discovery import installed_plugins
from zoo_core.plugins.import_probe import check_plugins
from zoo_core.registry import registries

HUB_VARIABLES = ("HF_ENDPOINT", "HF_HOME", "HF_HUB_CACHE", "HF_HUB_OFFLINE")


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Say what is installed, what is broken, and the remedy.

    Tries every enabled plugin anew, each in a process of its own, which is ended if it takes too long. Exits
    with status 1 if something is broken; what an author should only mend is a note.
    """
    fields, problems = _environment()
    plugins = check_plugins(installed_plugins(), again=True)
    problems += [plugin.problem for plugin in plugins if plugin.problem]
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
            click.echo("Nothing is broken.")
    if problems:
        click.get_current_context().exit(1)


def _environment() -> tuple[dict[str, Any], list[ZooError]]:
    """Facts about this installation, and what is wrong with it apart from plugins."""
    from zoo_core.weights import cache_folder

    problems: list[ZooError] = []
    cache = cache_folder()
    existing = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    fields = {
        "zoo-core": importlib.metadata.version("zoo-core"),
        "Python": f"{platform.python_version()} ({sys.executable})",
        "torch": _version("torch"),
        "huggingface-hub": _version("huggingface-hub"),
        "Zoo home": str(paths.data_dir()),
        "Hub cache": f"{cache} ({megabytes(free)} free)",
        **{name: os.environ[name] for name in HUB_VARIABLES if name in os.environ},
        "HF_TOKEN": "set" if os.environ.get("HF_TOKEN") else "not set",
    }
    if not os.access(existing, os.W_OK):
        problems.append(
            ZooError(f"The Hub cache {cache} cannot be written.", "Point HF_HOME to a folder that can be.")
        )
    try:
        problems += [problem for registry in registries() for problem in registry.problems]
    except ZooError as problem:
        problems.append(problem)
    for state in ("disabled.json", "checked.json", "lock.json"):
        try:
            files.read_json(Path(paths.data_dir(), state), default=None)
        except ZooError as problem:
            problems.append(problem)
    return fields, problems


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
