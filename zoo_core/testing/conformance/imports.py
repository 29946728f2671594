"""What is imported when, told by fresh interpreters."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass

from zoo_core.plugins.discovery import InstalledPlugin

SECONDS = 60
"""How long importing a plugin may take."""
MARK = "zoo-imports "

LOAD = f"""\
import contextlib, importlib, json, sys
from zoo_core.errors import ZooError
from zoo_core.plugins.discovery import installed_plugins
from zoo_core.plugins.host import PluginHost
name, module = sys.argv[1:]
host = PluginHost(installed_plugins())
before, problem = set(sys.modules), None
with contextlib.suppress(BaseException):  # the host tells why; it would also hide what is printed
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
    """What happens when a plugin's hooks are loaded."""

    problem: str | None
    """Why they cannot be."""
    packages: frozenset[str]
    """Top-level packages that it imports."""
    hooks: tuple[str, ...]
    """Names that it implements."""
    printed: str
    """What appears on stdout."""


def imports_of_loading(plugin: InstalledPlugin) -> Imports:
    """Load a plugin's hooks in a fresh interpreter."""
    try:
        output, errors = _run(LOAD, plugin.name, plugin.module)
    except subprocess.TimeoutExpired:
        return Imports(f"Importing it takes more than {SECONDS} seconds.", frozenset(), (), "")
    printed, _, answer = output.rpartition("\n" + MARK)
    if not answer:
        last = (errors.strip().splitlines() or ["it says nothing"])[-1]
        return Imports(f"Importing it ends the process: {last}", frozenset(), (), output)
    problem, modules, hooks = json.loads(answer)
    return Imports(problem, _top(modules), tuple(hooks), printed)


def imports_of_listing() -> frozenset[str]:
    """The packages that are imported when all models have been listed, and Python's own."""
    output, errors = _run(LIST)
    _, _, answer = output.rpartition("\n" + MARK)
    assert answer, f"Listing models failed: {errors}"
    return _top(json.loads(answer))


def _run(program: str, *arguments: str) -> tuple[str, str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    child = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    return child.stdout, child.stderr


def _top(modules: list[str]) -> frozenset[str]:
    return frozenset(name.partition(".")[0] for name in modules)
