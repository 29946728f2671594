"""Find the installed plugins and read their manifests, without importing them."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from zoo_core import files
from zoo_core.errors import CardError, PluginError, ZooError, short_repr
from zoo_core.manifest.cache import FileCache, gc_paused
from zoo_core.manifest.cards import Manifest
from zoo_core.manifest.reader import read_manifest
from zoo_core.plugins.entrypoints import EntryPoint, entry_points

if TYPE_CHECKING:
    import importlib.metadata

GROUP = "zoo.plugins"
FILE = "zoo.toml"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_VERSION = re.compile(r"[A-Za-z0-9.!+_-]{1,60}")

Status = Literal["ok", "disabled", "broken"]


@dataclass(frozen=True)
class InstalledPlugin:
    """An installed plugin: usable, disabled by the user, or broken."""

    name: str
    """The name of the entry point and of the distribution."""
    module: str
    """The module with its hook implementations."""
    manifest: Manifest | None = None
    """None if it cannot be read."""
    status: Status = "ok"
    problem: ZooError | None = None
    """Why it is broken."""
    notes: tuple[ZooError, ...] = ()
    """Problems for its author that do not prevent its use."""
    metadata: Path | None = None
    """The ``*.dist-info`` folder of its distribution."""

    @property
    def distribution(self) -> importlib.metadata.Distribution | None:
        """Its distribution; None if it was not installed as one."""
        import importlib.metadata

        return importlib.metadata.Distribution.at(self.metadata) if self.metadata else None

    @property
    def version(self) -> str:
        """The distribution's version; ``unknown`` if there is none or it is malformed."""
        version = self.distribution.version if self.distribution else ""
        return version if _VERSION.fullmatch(version or "") else "unknown"


def installed_plugins(listed: Callable[[], Collection[str]] = tuple) -> tuple[InstalledPlugin, ...]:
    """Return every plugin of this environment, by name, with its manifest and status.

    A plugin is broken if its manifest is missing or wrong, or if it claims a name that another plugin has.
    The others are not affected. A disabled plugin's manifest is read too, so that asking for one of its
    models can be answered, but its mistakes are not reported.

    Args:
        listed: Called only if two plugins claim one name; returns the names of the plugins that a registry
            lists. A listed plugin keeps the name.
    """
    with gc_paused():
        return tuple(_break_duplicates(_inspect_all(), listed))


def _inspect_all() -> list[InstalledPlugin]:
    disabled = disabled_plugins()
    entries = sorted(entry_points(GROUP), key=lambda entry: (entry.name, entry.module))
    manifests = FileCache(Manifest, files.cache_dir() / "manifests.json")
    plugins = [
        replace(plugin, status="disabled", problem=None) if plugin.name in disabled else plugin
        for plugin in (_inspect(entry, manifests) for entry in entries)
    ]
    manifests.save()
    return plugins


def disabled_plugins() -> frozenset[str]:
    """Return the names of the disabled plugins."""
    return frozenset(map(str, files.read_json(disabled_file(), default=[])))


def disabled_file() -> Path:
    """Return the file that lists the disabled plugins."""
    return files.data_dir() / "disabled.json"


def package_folder(module: str) -> Path | None:
    """Return the folder of a package without importing it; None if there is none.

    Only the top-level name is given to the import system: :func:`importlib.util.find_spec` of a dotted name
    would import its parents.
    """
    top, *rest = module.split(".")
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    for location in (spec.submodule_search_locations or ()) if spec else ():
        folder = Path(location, *rest)
        if folder.is_dir():
            return folder
    return None


def read_toml(path: Path) -> dict[str, object]:
    """Parse a TOML file; CardError names the file and the position."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise CardError(
            f"{path}: cannot be read: {error.strerror}.", "Reinstall what it belongs to."
        ) from None
    return parse_toml(data, path)


def parse_toml(data: bytes, path: Path) -> dict[str, object]:
    """Parse the content of a TOML file; CardError names the file and the position."""
    import tomli

    try:
        return tomli.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:  # tomli's, or a number or nesting beyond its limits
        raise CardError(f"{path}: not valid TOML: {error}.", "Correct that file.") from None


def _inspect(entry: EntryPoint, manifests: FileCache[Manifest]) -> InstalledPlugin:
    if not _NAME.fullmatch(entry.name):
        name = short_repr(entry.name)
        distribution = entry.metadata.name.partition("-")[0].replace("_", "-")
        problem = PluginError(
            f"{name} is not a valid plugin name.", f"Remove it: pip uninstall {distribution}"
        )
        return InstalledPlugin(name, entry.module, status="broken", problem=problem, metadata=entry.metadata)
    plugin = InstalledPlugin(entry.name, entry.module, metadata=entry.metadata)
    try:
        folder = package_folder(entry.module)
        if folder is None:
            raise PluginError(
                f"{entry.name}: there is no package {entry.module!r}.",
                f"Reinstall it: zoo install {entry.name}",
            )
        file = folder / FILE
        if not file.is_file():
            raise PluginError(
                f"{entry.name}: its package has no {FILE}.",
                f"Ask its author, or remove it: zoo uninstall {entry.name}",
            )
        manifest = manifests.read(file, lambda: read_manifest(read_toml(file), file, folder))
        if manifest.name != entry.name:
            raise CardError(
                f"{file}: [plugin] name: expected {entry.name!r}, as its entry point is called, "
                f"not {manifest.name!r}.",
                "Correct that file.",
            )
    except ZooError as problem:
        return replace(plugin, status="broken", problem=problem)
    return replace(plugin, manifest=manifest)


def _break_duplicates(
    plugins: Sequence[InstalledPlugin], listed: Callable[[], Collection[str]]
) -> list[InstalledPlugin]:
    """Mark as broken every plugin that claims a name which another, healthy one has.

    A plugin that a registry lists goes before one that none lists; then the first by name does.
    """
    owners: dict[tuple[str, str], str] = {}
    result = []
    for plugin in _listed_first(plugins, listed):
        claims = _claims(plugin)
        taken = next((claim for claim in claims if claim in owners), None)
        if taken:
            kind, name = taken
            owner = owners[taken]
            if owner != plugin.name:
                remedy = f"Keep one of the two: zoo disable {owner}, or zoo disable {plugin.name}"
            else:
                assert plugin.distribution is not None  # a name stands twice only in two distributions
                remedy = f"Remove one of the two: pip uninstall {plugin.distribution.name}"
            problem = PluginError(f"{plugin.name}: the {kind} {name!r} already belongs to {owner}.", remedy)
            plugin = replace(plugin, status="broken", problem=problem)
        else:
            owners.update(dict.fromkeys(claims, plugin.name))
        result.append(plugin)
    return sorted(result, key=lambda plugin: (plugin.name, plugin.module))


def _listed_first(
    plugins: Sequence[InstalledPlugin], listed: Callable[[], Collection[str]]
) -> Sequence[InstalledPlugin]:
    """Return the same plugins; if two claim one name, those that a registry lists come first."""
    claims = [claim for plugin in plugins for claim in _claims(plugin)]
    if len(set(claims)) == len(claims):
        return plugins
    names = listed()
    return sorted(plugins, key=lambda plugin: plugin.name not in names)


def _claims(plugin: InstalledPlugin) -> list[tuple[str, str]]:
    if plugin.status != "ok" or plugin.manifest is None:
        return []
    manifest = plugin.manifest
    return [
        ("plugin", plugin.name),
        *(("model", name.lower()) for card in manifest.models for name in (card.id, *card.aliases)),
        *(("trainer", trainer.name) for trainer in manifest.trainers),
        *(("command", command.name) for command in manifest.commands),
        *(("extractor", extractor.name) for extractor in manifest.extractors),
        *(("engine", engine.name) for engine in manifest.engines),
    ]
