"""The plugin host: load the one plugin that is needed, contain its failures, enable and disable."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from zoo_core import home
from zoo_core.errors import PluginError, ZooError
from zoo_core.manifest import InstalledPlugin, disabled_file, disabled_plugins

if TYPE_CHECKING:
    import pluggy

PROBE_SECONDS = 60


class PluginHost:
    """Loads plugins one at a time and calls their hooks.

    Whatever a plugin does wrong becomes a PluginError that names it; the others are not affected.
    """

    def __init__(self, plugins: Sequence[InstalledPlugin]) -> None:
        import pluggy

        from zoo_core import hookspecs

        self._plugins = {plugin.name: plugin for plugin in reversed(plugins)}
        self._manager = pluggy.PluginManager("zoo")
        self._manager.add_hookspecs(hookspecs)

    def load(self, name: str) -> None:
        """Import a plugin and register its hooks, if that has not been done.

        Raises:
            PluginError: It is not installed, disabled or broken (it is then not imported), or fails now; the
                host is then as it was.
        """
        if self._manager.has_plugin(name):
            return
        plugin = self._plugins.get(name)
        if plugin is None:
            raise PluginError(f"The plugin {name} is not installed.", f"Install it: zoo install {name}")
        if plugin.status == "disabled":
            raise PluginError(f"The plugin {name} is disabled.", f"Enable it: zoo enable {name}")
        if plugin.problem is not None:
            raise plugin.problem
        if problem := missing_requirement(plugin):
            raise problem
        with contained(name, "being imported", f"Reinstall it (zoo install {name}) or zoo disable {name}"):
            module = importlib.import_module(plugin.module)
        self._register(module, name)

    def _register(self, module: object, name: str) -> None:
        import pluggy

        try:
            self._manager.register(module, name)
            self._manager.check_pending()
        except pluggy.PluginValidationError as error:
            if self._manager.has_plugin(name):
                self._manager.unregister(name=name)
            reason = " ".join(str(error).split())
            raise PluginError(
                f"{name}: its hooks do not fit this version of the zoo: {reason}",
                f"Update it (zoo install {name}) or zoo disable {name}",
            ) from error

    def call(self, name: str, hook: str, **arguments: Any) -> Any:
        """Call one hook of one plugin, loading it first; None if it does not implement the hook."""
        self.load(name)
        others = [plugin for other, plugin in self._manager.list_name_plugin() if other != name]
        caller: pluggy.HookCaller = self._manager.subset_hook_caller(hook, others)
        with contained(name, f"running {hook}", "Run again with --debug, and tell its author."):
            return caller(**arguments)


def check_plugins(plugins: Sequence[InstalledPlugin], *, again: bool = False) -> list[InstalledPlugin]:
    """The plugins with what only importing them can tell, found out in another process.

    The outcome is remembered for as long as the plugin's version and main file stay the same.

    Args:
        plugins: As :func:`zoo_core.manifest.installed_plugins` gave them.
        again: Import them once more, whatever is remembered.
    """
    memory_file = home.home() / "checked.json"
    memory: dict[str, Any] = {} if again else home.read_json(memory_file, default={})
    checked, due = [], []
    for plugin in plugins:
        if plugin.status == "ok" and (problem := missing_requirement(plugin)):
            plugin = replace(plugin, status="broken", problem=problem)
        elif plugin.status == "ok" and memory.get(plugin.name, {}).get("of") != _fingerprint(plugin):
            due.append(plugin)
        checked.append(plugin)
    if due:
        outcomes = _probe([plugin.name for plugin in due])
        for plugin in due:
            memory[plugin.name] = {"of": _fingerprint(plugin), "problem": outcomes[plugin.name]}
        with home.locked(memory_file):
            home.write_json_atomically(memory_file, memory)
    return [_recall(plugin, memory) if plugin.status == "ok" else plugin for plugin in checked]


def missing_requirement(plugin: InstalledPlugin) -> PluginError | None:
    """What the plugin's distribution requires and this environment lacks; None if nothing."""
    from packaging.requirements import InvalidRequirement, Requirement

    for line in (plugin.distribution.requires or ()) if plugin.distribution else ():
        try:
            requirement = Requirement(line)
        except InvalidRequirement:
            continue
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        remedy = f"Install it: pip install '{requirement.name}{requirement.specifier}'"
        try:
            version = importlib.metadata.version(requirement.name)
        except importlib.metadata.PackageNotFoundError:
            return PluginError(f"{plugin.name} needs {requirement.name}, which is not installed.", remedy)
        if not requirement.specifier.contains(version, prereleases=True):
            return PluginError(
                f"{plugin.name} needs {requirement.name}{requirement.specifier}; {version} is installed.",
                remedy,
            )
    return None


def set_enabled(name: str, enabled: bool, plugins: Sequence[InstalledPlugin]) -> bool:
    """Enable or disable a plugin; False if it already was so.

    Raises:
        PluginError: No plugin of that name is installed.
    """
    if name not in {plugin.name for plugin in plugins}:
        raise PluginError(f"The plugin {name} is not installed.", "See which are: zoo plugins")
    with home.locked(disabled_file()):
        before = disabled_plugins()
        after = before - {name} if enabled else before | {name}
        home.write_json_atomically(disabled_file(), sorted(after))
    return before != after


@contextmanager
def contained(name: str, doing: str, remedy: str) -> Iterator[None]:
    """Turn whatever a plugin raises, SystemExit included, into a PluginError that names it."""
    try:
        yield
    except (ZooError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise PluginError(f"{name} failed while {doing}: {reason}", remedy) from error


def _fingerprint(plugin: InstalledPlugin) -> list[Any]:
    from zoo_core.manifest import package_folder

    folder = package_folder(plugin.module)
    main = folder / "__init__.py" if folder else None
    stat = main.stat() if main and main.is_file() else None
    return [plugin.version, sys.version, stat.st_mtime_ns if stat else 0, stat.st_size if stat else 0]


def _recall(plugin: InstalledPlugin, memory: dict[str, Any]) -> InstalledPlugin:
    problem = memory[plugin.name]["problem"]
    return replace(plugin, status="broken", problem=PluginError(*problem)) if problem else plugin


def _probe(names: Sequence[str]) -> dict[str, list[str] | None]:
    """Import plugins in a child process; a plugin that takes the child down with it is named and skipped."""
    outcomes: dict[str, list[str] | None] = {}
    while remaining := [name for name in names if name not in outcomes]:
        died = "took the Python process down"
        try:
            child = subprocess.run(
                [sys.executable, "-m", "zoo_core.plugins", *remaining],
                capture_output=True,
                text=True,
                timeout=PROBE_SECONDS,
                check=False,
            )
            output = child.stdout
        except subprocess.TimeoutExpired as expired:
            died = f"took more than {PROBE_SECONDS} seconds"
            output = (expired.stdout or b"").decode() if isinstance(expired.stdout, bytes) else ""
        for line in output.splitlines():
            if line.startswith("zoo-probe "):
                name, problem = json.loads(line.removeprefix("zoo-probe "))
                outcomes[name] = problem
        if unanswered := [name for name in remaining if name not in outcomes]:
            culprit = unanswered[0]
            outcomes[culprit] = [
                f"{culprit} {died} while being imported.",
                f"Disable it: zoo disable {culprit}",
            ]
    return outcomes


def _answer_probe(names: Sequence[str]) -> None:
    from zoo_core.manifest import installed_plugins

    host = PluginHost(installed_plugins())
    for name in names:
        problem: list[str] | None = None
        try:
            host.load(name)
        except ZooError as error:
            problem = [error.message, error.remedy]
        # On a line of its own, whatever the plugin printed.
        print("\nzoo-probe " + json.dumps([name, problem]), flush=True)


if __name__ == "__main__":
    _answer_probe(sys.argv[1:])
