"""Read a registry: the manifest and the package of each plugin."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zoo_core.errors import CardError, PluginError, ZooError
from zoo_core.files import is_inside
from zoo_core.manifest.cards import Manifest
from zoo_core.manifest.reader import read_manifest
from zoo_core.manifest.toml_reader import Table
from zoo_core.manifest.untrusted import screen
from zoo_core.plugins.discovery import read_toml
from zoo_core.registry.addresses import is_address, is_safe

PACKAGE = "package"
"""The table that describes a plugin's package."""

_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"https?://[!-~]+")
_WHEEL = re.compile(r"[!-~]+\.whl")


@dataclass(frozen=True)
class Package:
    """The distribution of a plugin, which has the plugin's name."""

    version: str
    """The newest version; the listed manifest belongs to it."""
    license: str
    """The licence of the code; each model has its own."""
    source: str | None = None
    """Address of the project."""
    wheel: str | None = None
    """Absolute path or address of the wheel; None if it is in the installer's index."""
    sha256: str | None = None
    """Digest of the wheel."""


@dataclass(frozen=True)
class Entry:
    """A plugin in a registry."""

    manifest: Manifest
    package: Package
    registry: str
    """Name of the registry."""

    @property
    def name(self) -> str:
        """The plugin's name."""
        return self.manifest.name


@dataclass(frozen=True)
class Registry:
    """The readable entries of a registry, and its problems."""

    name: str
    location: str
    """Path or address."""
    entries: tuple[Entry, ...] = ()
    problems: tuple[ZooError, ...] = ()
    """Errors of the registry, or of entries that were left out."""
    for_other_cores: Mapping[str, PluginError] = field(default_factory=dict)
    """Plugins made for other versions of the core, which are left out."""


def read_registry(file: Path, name: str, location: str | None = None) -> Registry:
    """Read a registry's file. An unreadable entry becomes a problem; the others are not affected.

    Args:
        file: The file, or a copy of it.
        name: The registry's name.
        location: Its path or address, to which paths of wheels are relative.

    Raises:
        CardError: It cannot be read, or is not a registry.
    """
    location = location or str(file)
    document = read_toml(file)
    tables = document.get("manifest", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise CardError(f"{location}: manifest: expected tables written [[manifest]].", "Correct that file.")
    entries: dict[str, Entry] = {}
    problems: list[ZooError] = []
    others: dict[str, PluginError] = {}
    for table in tables:
        try:
            entry = read_entry(table, name, location)
            if entry.name in entries:
                raise CardError(
                    f"{location}: the plugin {entry.name!r} occurs twice; the first counts.",
                    "Keep one of the two.",
                )
            entries[entry.name] = entry
        except PluginError as problem:
            others[table["plugin"]["name"]] = problem
        except ZooError as problem:
            problems.append(problem)
    return Registry(name, location, tuple(entries.values()), tuple(problems), others)


def read_entry(table: Mapping[str, Any], name: str, location: str) -> Entry:
    """Check one table ``[[manifest]]`` of the registry ``name``.

    Raises:
        CardError: Names the registry, table, key and what was expected.
        PluginError: The plugin is made for other versions of the core.
    """
    screen(table, location)  # the package is not part of the manifest
    manifest = read_manifest({k: v for k, v in table.items() if k != PACKAGE}, location, folder=None)
    package = Table(table, f"{location}: {manifest.name}", "").table(PACKAGE)
    return Entry(manifest, _read_package(package, location), name)


def _read_package(table: Table, location: str) -> Package:
    wheel = table.optional("wheel")
    package = Package(
        version=table.text("version", _VERSION, "a version such as 1.0"),
        license=table.text("license"),
        source=table.text("source", _ADDRESS, "an address https://…") if table.optional("source") else None,
        wheel=_resolve(table, location) if wheel is not None else None,
        sha256=table.text("sha256", _SHA256, "64 hexadecimal digits") if wheel is not None else None,
    )
    table.finish()
    return package


def _resolve(table: Table, location: str) -> str:
    """Return the wheel's absolute path, or its address, which must be a safe one."""
    expected = "a wheel's path beside the registry, or its address https://…"
    wheel = table.text("wheel", _WHEEL, expected)
    if not is_address(wheel):
        path = Path(wheel)
        if not is_inside(wheel):
            raise table.error("wheel", f"{expected}, not {wheel!r}")
        if not is_address(location):
            return str(Path(location).absolute().parent / path)
        from urllib.parse import urljoin

        wheel = urljoin(location, wheel)
    if not is_safe(wheel):
        raise table.error("wheel", f"{expected}, not {wheel!r}")
    return wheel
