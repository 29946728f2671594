"""Find out in fresh interpreters what is imported when."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from zoo_core.plugins.discovery import InstalledPlugin

SECONDS = 60
"""Time limit for importing a plugin."""
MARK = "zoo-imports "

LOAD = f"""\
import contextlib, importlib, json, sys
from zoo_core.errors import ZooError
from zoo_core.plugins.discovery import installed_plugins
from zoo_core.plugins.host import PluginHost
name, module = sys.argv[1:]
host = PluginHost(installed_plugins())
before, problem = set(sys.modules), None
with contextlib.suppress(BaseException):  # the host reports the error, but hides printed output
    importlib.import_module(module)
try:
    host.load(name)
except ZooError as error:
    problem = error.message + " " + error.remedy
held = vars(sys.modules[module]) if module in sys.modules else {{}}
hooks = [name for name, value in held.items() if hasattr(value, "zoo_impl")]
print("\\n{MARK}" + json.dumps([problem, sorted(set(sys.modules) - before), hooks]), flush=True)
"""

LIST = f"""\
import json, sys
from zoo_core.catalog import Catalog
Catalog.read().match(everything=True)
print("\\n{MARK}" + json.dumps(sorted(sys.modules)), flush=True)
"""


@dataclass(frozen=True)
class Imports:
    """The effects of loading a plugin's hooks."""

    problem: str | None
    """Why they cannot be loaded."""
    packages: frozenset[str]
    """Imported top-level packages."""
    hooks: tuple[str, ...]
    """Names of the implemented hooks."""
    printed: str
    """Output on stdout."""


def imports_of_loading(plugin: InstalledPlugin) -> Imports:
    """Load a plugin's hooks in a fresh interpreter."""
    try:
        output, errors = _run(LOAD, plugin.name, plugin.module)
    except subprocess.TimeoutExpired:
        return Imports(f"Importing the plugin takes more than {SECONDS} seconds.", frozenset(), (), "")
    printed, _, answer = output.rpartition("\n" + MARK)
    if not answer:
        last = (errors.strip().splitlines() or ["no message"])[-1]
        return Imports(f"Importing the plugin ends the process: {last}", frozenset(), (), output)
    problem, modules, hooks = json.loads(answer)
    return Imports(problem, _top(modules), tuple(hooks), printed)


def imports_of_listing() -> frozenset[str]:
    """Return the packages that are imported after listing all models, including Python's own."""
    output, errors = _run(LIST)
    _, _, answer = output.rpartition("\n" + MARK)
    assert answer, f"Listing models failed: {errors}"
    return _top(json.loads(answer))


def _run(program: str, *arguments: str) -> tuple[str, str]:
    command = [sys.executable, "-c", program, *arguments]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run(command, env=env, capture_output=True, text=True, timeout=SECONDS, check=False)
    return child.stdout, child.stderr


def _top(modules: list[str]) -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in modules)
