"""Load a plugin, call its hooks, contain its failures; enable and disable plugins."""

from __future__ import annotations

import importlib
import importlib.metadata
import io
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from zoo_core import files
from zoo_core.errors import PluginDeprecation, PluginError, ZooError, short_repr, some
from zoo_core.plugins.discovery import InstalledPlugin, disabled_file, disabled_plugins

if TYPE_CHECKING:
    import pluggy

    from zoo_core.protocols import Conversion


class PluginHost:
    """Loads plugins one at a time and calls their hooks.

    An error of a plugin becomes a PluginError that names it; other plugins are not affected. Output during
    its import goes to stderr, because stdout is for results.
    """

    def __init__(self, plugins: Sequence[InstalledPlugin]) -> None:
        import pluggy

        from zoo_core.plugins import hookspecs

        self._plugins = {plugin.name: plugin for plugin in reversed(plugins)}
        self._manager = pluggy.PluginManager("zoo")
        self._manager.add_hookspecs(hookspecs)
        self.notes: dict[str, list[PluginError]] = {}
        """By plugin: problems noticed at its import that do not prevent its use."""

    def load(self, name: str) -> None:
        """Import a plugin and register its hooks, unless that has been done.

        Raises:
            PluginError: It is not installed, is disabled or broken (and is not imported), or its import
                fails; the host is then unchanged.
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
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always", PluginDeprecation)
            module, printed = _import(plugin)
            self._register(module, name)
        self.notes[name] = [*_printing(name, printed), *_deprecations(name, warned)]
        for other in warned:
            if not issubclass(other.category, PluginDeprecation):
                warnings.warn_explicit(other.message, other.category, other.filename, other.lineno)

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
                f"Update it (zoo install --upgrade {name}) or zoo disable {name}",
            ) from error

    def call(self, name: str, hook: str, **arguments: Any) -> Any:
        """Call one hook of one plugin, loading it if necessary; None if it does not implement the hook."""
        self.load(name)
        others = [plugin for other, plugin in self._manager.list_name_plugin() if other != name]
        caller: pluggy.HookCaller = self._manager.subset_hook_caller(hook, others)
        with plugin_errors(name, f"running {hook}", "Run again with --debug, and tell its author."):
            return caller(**arguments)

    def call_first(self, names: Sequence[str], hook: str, **arguments: Any) -> Any:
        """Call a hook of these plugins in pluggy's order; return the first result that is not None."""
        for name in names:
            self.load(name)
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        for implementation in reversed(caller.get_hookimpls()):
            if implementation.plugin_name in names:
                result = self.call(implementation.plugin_name, hook, **arguments)
                if result is not None:
                    return result
        return None

    def converters(
        self, path: Path, *, only: str | None = None
    ) -> dict[str, Callable[[Path], Conversion | None]]:
        """Return a reader per plugin that converts files with this suffix; with ``only``, of that plugin."""

        def reader(name: str) -> Callable[[Path], Conversion | None]:
            return lambda path: self.call(name, "zoo_convert_checkpoint", path=path)

        return {
            plugin.name: reader(plugin.name)
            for plugin in self._plugins.values()
            if plugin.status == "ok" and plugin.manifest and path.suffix in plugin.manifest.converts
            if only in (None, plugin.name)
        }


def _import(plugin: InstalledPlugin) -> tuple[ModuleType, str]:
    """Return the plugin's module and its output; replaced torch functions are restored."""
    from zoo_core.plugins.torch_guard import torch_restored

    name, printed = plugin.name, io.StringIO()
    remedy = f"Reinstall it (zoo install {name}) or zoo disable {name}"
    try:
        with (
            torch_restored() as replaced,
            redirect_stdout(printed),
            plugin_errors(name, "being imported", remedy),
        ):
            module = importlib.import_module(plugin.module)
    finally:
        sys.stderr.write(printed.getvalue())
    if replaced:
        sys.modules.pop(plugin.module, None)
        raise PluginError(
            f"{name} replaced {some(replaced)} at its import; this has been undone.",
            f"Disable it: zoo disable {name}; and tell its author.",
        )
    return module, printed.getvalue()


def _printing(name: str, printed: str) -> Iterator[PluginError]:
    if printed.strip():
        yield PluginError(
            f"{name} prints at its import: {short_repr(printed.strip())}.",
            "Tell its author: the output ends up between results.",
        )


def _deprecations(name: str, warned: Sequence[warnings.WarningMessage]) -> Iterator[PluginError]:
    for warning in warned:
        if issubclass(warning.category, PluginDeprecation):
            yield PluginError(f"{name}: {warning.message}", f"Update it: zoo install --upgrade {name}")


def missing_requirement(plugin: InstalledPlugin) -> PluginError | None:
    """Return the error for the first missing requirement of a plugin's distribution; None without one."""
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
    """Enable or disable a plugin; return False if nothing changed.

    Raises:
        PluginError: No plugin of that name is installed.
    """
    if name not in {plugin.name for plugin in plugins}:
        raise PluginError(f"The plugin {name} is not installed.", "See those that are: zoo plugins")
    with files.locked(disabled_file()):
        before = disabled_plugins()
        after = before - {name} if enabled else before | {name}
        files.write_state(disabled_file(), sorted(after))
    return before != after


@contextmanager
def plugin_errors(name: str, doing: str, remedy: str) -> Iterator[None]:
    """Turn any exception of a plugin, SystemExit included, into a PluginError that names it."""
    try:
        yield
    except (ZooError, KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:
        lines = str(error).strip().splitlines()
        reason = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
        raise PluginError(f"{name} failed while {doing}: {reason}", remedy) from error
