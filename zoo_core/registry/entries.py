"""What a registry says: each plugin's manifest, and the package that the plugin comes in."""

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
"""The table beside a manifest that tells of its package."""

_VERSION = re.compile(r"[0-9][A-Za-z0-9.!+_-]*")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_ADDRESS = re.compile(r"https?://[!-~]+")
_WHEEL = re.compile(r"[!-~]+\.whl")


@dataclass(frozen=True)
class Package:
    """The distribution a plugin comes in, which is called as the plugin is."""

    version: str
    """The newest that the registry knows; its manifest is the one listed."""
    license: str
    """The code's licence, as the package states it; each model has its own."""
    source: str | None = None
    """Address of its project."""
    wheel: str | None = None
    """Absolute path or address of the file to install; None where pip looks in its own index."""
    sha256: str | None = None
    """Digest of that file."""


@dataclass(frozen=True)
class Entry:
    """A plugin as a registry knows it."""

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
    """A registry that was read, as far as it could be."""

    name: str
    location: str
    """Path or address."""
    entries: tuple[Entry, ...] = ()
    problems: tuple[ZooError, ...] = ()
    """What is wrong with it, or with some of its entries, which are then left out."""
    for_other_cores: Mapping[str, PluginError] = field(default_factory=dict)
    """Plugins that are for other versions of the core, which are left out too."""


def read_registry(file: Path, name: str, location: str | None = None) -> Registry:
    """Read a registry's file. An entry that cannot be read is a problem and leaves the others as they are.

    Args:
        file: The file, or the copy of one.
        name: What the user calls it.
        location: Path or address it came from, against which the paths of wheels are resolved.

    Raises:
        CardError: It cannot be read, or is no registry.
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
                    f"{location}: the plugin {entry.name!r} stands there twice; the first is taken.",
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
        PluginError: The plugin is for other versions of the core.
    """
    screen(table, location)  # of which its package is not part of the manifest
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
    """The wheel's absolute path, or its address, which is as safe as a registry's own must be."""
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
