"""Check that a plugin can be imported, in a child process with a time limit.

``python -m zoo_core.plugins.import_probe NAME FILE`` imports one plugin and writes the
outcome into FILE, as JSON.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from zoo_core import files
from zoo_core.errors import PluginError, ZooError
from zoo_core.plugins.discovery import InstalledPlugin, package_folder
from zoo_core.plugins.host import PluginHost, missing_requirement

OUTCOME = {"problem", "notes"}
PROBE_SECONDS = 30
"""Time limit of an import; a plugin that does not import torch needs a tenth of a second."""


def check_plugins(plugins: Sequence[InstalledPlugin], *, again: bool = False) -> list[InstalledPlugin]:
    """Return the plugins, those that fail to import marked as broken.

    The outcome is kept as long as the plugin's version and main file stay the same.

    Args:
        plugins: From :func:`zoo_core.plugins.discovery.installed_plugins`.
        again: Import them even if an outcome is kept.
    """
    memory_file = files.data_dir() / "checked.json"
    memory: dict[str, Any] = {} if again else files.read_json(memory_file, default={})
    checked, due = [], []
    for plugin in plugins:
        if plugin.status == "ok" and (problem := missing_requirement(plugin)):
            plugin = replace(plugin, status="broken", problem=problem)
        elif plugin.status == "ok" and not _is_outcome(memory.get(plugin.name), plugin):
            due.append(plugin)
        checked.append(plugin)
    if due:
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            for plugin, outcome in zip(due, threads.map(_probe, due), strict=True):
                memory[plugin.name] = {"of": _fingerprint(plugin), **outcome}
        with files.locked(memory_file):
            files.write_state(memory_file, memory)
    return [_recall(plugin, memory) if plugin.status == "ok" else plugin for plugin in checked]


def _fingerprint(plugin: InstalledPlugin) -> list[Any]:
    folder = package_folder(plugin.module)
    main = folder / "__init__.py" if folder else None
    stat = main.stat() if main and main.is_file() else None
    return [plugin.version, sys.version, stat.st_mtime_ns if stat else 0, stat.st_size if stat else 0]


def _is_outcome(told: object, plugin: InstalledPlugin) -> bool:
    """Return True if this is an outcome of this version of the plugin, in the form this core writes."""
    return isinstance(told, dict) and told.keys() == OUTCOME | {"of"} and told["of"] == _fingerprint(plugin)


def _recall(plugin: InstalledPlugin, memory: dict[str, Any]) -> InstalledPlugin:
    outcome = memory[plugin.name]
    notes = tuple(PluginError(*note) for note in outcome["notes"])
    if outcome["problem"]:
        return replace(plugin, status="broken", problem=PluginError(*outcome["problem"]), notes=notes)
    return replace(plugin, notes=notes)


def _probe(plugin: InstalledPlugin) -> dict[str, Any]:
    """Import a plugin in a child process; after the time limit it is killed, with all that it started."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "outcome.json"
        child = subprocess.Popen(
            [sys.executable, "-m", "zoo_core.plugins.import_probe", plugin.name, file],
            stdin=subprocess.DEVNULL,
            # No pipe: a process that the plugin started could keep it open forever.
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        died = "crashed the Python process while being imported"
        try:
            child.wait(PROBE_SECONDS)
        except subprocess.TimeoutExpired:
            died = f"took more than {PROBE_SECONDS} seconds to import and was stopped"
        finally:
            _end(child)
        try:
            outcome: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            problem = [f"{plugin.name} {died}.", f"Disable it: zoo disable {plugin.name}"]
            return {"problem": problem, "notes": []}
    return outcome


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill a child and, where there are process groups, the processes it started."""
    if sys.platform != "win32":
        with suppress(ProcessLookupError, PermissionError):  # all of them have ended
            os.killpg(child.pid, signal.SIGKILL)
    child.kill()
    child.wait()


def _answer(name: str, file: Path) -> None:
    from zoo_core.plugins.discovery import installed_plugins

    host = PluginHost(installed_plugins(lambda: (name,)))  # the parent has settled who owns a name
    problem: list[str] | None = None
    try:
        host.load(name)
    except ZooError as error:
        problem = [error.message, error.remedy]
    notes = [[note.message, note.remedy] for note in host.notes.get(name, ())]
    files.write_state(file, {"problem": problem, "notes": notes})


if __name__ == "__main__":
    _answer(sys.argv[1], Path(sys.argv[2]))
    # Exit at once: threads and exit handlers of the plugin are not part of the outcome.
    os._exit(0)
