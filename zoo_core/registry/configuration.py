"""The user's registries and their order.

``config.toml`` in the zoo's folder lists them; the built-in one is added at the end::

    [registries]
    acme = "https://zoo.acme.example/registry.toml"
    mine = "~/models/registry.toml"

If several registries list a plugin, the first counts. The built-in registry is last, so that a company can
decide where its plugins come from, whatever else is published under the same name.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from zoo_core import files
from zoo_core.errors import RegistryError, ZooError, short_repr
from zoo_core.manifest.cache import FileCache, gc_paused
from zoo_core.plugins.discovery import read_toml
from zoo_core.registry import remote
from zoo_core.registry.addresses import is_address
from zoo_core.registry.entries import Registry, read_registry

BUILT_IN = "built-in"
"""The name of the registry in the core."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")


def config_file() -> Path:
    """Return the file that lists the user's registries. It may not exist."""
    return files.data_dir() / "config.toml"


def configured() -> dict[str, str]:
    """Return path or address of each registry by name, in order of precedence.

    Raises:
        CardError: config.toml cannot be read.
        RegistryError: config.toml is wrong.
    """
    file = config_file()
    if not file.is_file():
        return {BUILT_IN: str(built_in_file())}
    document = read_toml(file)
    tables = document.pop("registries", {})
    remedy = f'Correct {file}: write it like [registries] acme = "https://…/registry.toml"'
    if document:
        raise RegistryError(f"{file} has an unknown key {short_repr(next(iter(document)))}.", remedy)
    if not isinstance(tables, dict):
        raise RegistryError(f"{file}: registries is not a table.", remedy)
    found = {}
    for name, location in tables.items():
        if not _NAME.fullmatch(name) or name == BUILT_IN:
            raise RegistryError(f"{file}: {short_repr(name)} is not a valid name of a registry.", remedy)
        if not isinstance(location, str) or not location.isprintable() or not location.strip():
            raise RegistryError(f"{file}: {name} is neither a file nor an address.", remedy)
        if not is_address(location):
            location = str(file.parent / Path(location).expanduser())
        found[name] = location
    return {**found, BUILT_IN: str(built_in_file())}


def built_in_file() -> Path:
    """Return the built-in registry: inside an installed package, or at the top of a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "registry.toml"
    return inside if inside.is_file() else package.parent / "registry.toml"


def registries() -> tuple[Registry, ...]:
    """Return all registries in order of precedence, as they are on this machine; nothing is fetched.

    A registry that cannot be read has no entries and a problem.

    Raises:
        CardError: config.toml cannot be read.
        RegistryError: config.toml is wrong.
    """
    with gc_paused():
        kept = FileCache(Registry, files.cache_dir() / "registries.json")
        found = tuple(_read(name, location, kept) for name, location in configured().items())
        kept.save()
    return found


def refresh(*, again: bool = False) -> list[ZooError]:
    """Fetch the registries whose copy is older than a day, and return the errors.

    Args:
        again: Fetch all of them, whatever their age, even if ``HF_HUB_OFFLINE`` is set.
    """
    if not again and os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
        return []
    problems: list[ZooError] = []
    for location in configured().values():
        if is_address(location) and (again or remote.is_stale(location)):
            try:
                remote.fetch(location)
            except ZooError as problem:
                problems.append(problem)
    return problems


def _read(name: str, location: str, kept: FileCache[Registry]) -> Registry:
    try:
        file = Path(location)
        if is_address(location):
            remote.check_address(location)
            file = remote.copy_of(location)
        if is_address(location) and not file.is_file():
            raise RegistryError(
                f"The registry {name} ({location}) has not been fetched yet.",
                "Fetch it: zoo registry update",
            )
        if file.is_file() and file.stat().st_size > remote.MAX_BYTES:
            megabytes = remote.MAX_BYTES // 1_000_000
            raise RegistryError(f"{location} is larger than {megabytes} MB.", "Check that it is a registry.")
        found = kept.read(file, lambda: read_registry(file, name, location))
        same = (found.name, found.location) == (name, location)  # it may have had another name
        return found if same else read_registry(file, name, location)
    except ZooError as problem:
        return Registry(name, location, problems=(problem,))
