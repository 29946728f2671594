"""Look up what the user wants to install in the registries."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from zoo_core.errors import PluginError, near_misses
from zoo_core.registry import Entry, Registry
from zoo_core.registry.addresses import is_address, is_safe

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*", re.IGNORECASE)
_PINNED = re.compile(rf"(?P<name>{_NAME.pattern})(==(?P<version>[0-9][A-Za-z0-9.!+_-]*))?", re.IGNORECASE)


@dataclass(frozen=True)
class Request:
    """A plugin to install."""

    name: str | None
    """The plugin's name; None if it is known only after the installation."""
    version: str | None
    """The required version; None for any."""
    requirement: str
    """A PEP 508 requirement, or a path."""
    entry: Entry | None = None
    """Its entry in a registry; None if no registry lists it."""


def ask_registries(text: str, registries: Sequence[Registry]) -> Request:
    """Return the request for ``NAME`` or ``NAME==VERSION``; the first registry that lists it counts.

    Raises:
        PluginError: The text has another form, or no registry lists the plugin; suggests similar names.
    """
    match = _PINNED.fullmatch(text)
    if match is None:
        raise PluginError(
            f"{text!r} is not a plugin's name.",
            "Give NAME or NAME==VERSION; for a folder, a wheel or an address add --unlisted.",
        )
    name, version = match["name"].lower(), match["version"]
    for registry in registries:
        for entry in registry.entries:
            if entry.name == name:
                return Request(name, version, requirement_of(entry, version), entry)
        if name in registry.for_other_cores:
            raise registry.for_other_cores[name]
    raise _unknown(name, registries)


def take_unlisted(text: str) -> Request:
    """Return the request for something that no registry lists: a folder, wheel, https address or package.

    Raises:
        PluginError: It is none of these.
    """
    if match := _PINNED.fullmatch(text):
        if not Path(text).exists():
            return Request(None, match["version"], text)
    elif is_address(text):
        if not is_safe(text.removeprefix("git+")):
            raise PluginError(
                f"{text} is not a safe address.", "Give an https:// address without a password."
            )
        return Request(None, None, text)
    path = Path(text)
    if text.startswith("-") or not (path.is_dir() or (text.endswith((".whl", ".tar.gz")) and path.is_file())):
        raise PluginError(
            f"{text!r} is not a folder, a wheel, an address or the name of a package.", "Check the path."
        )
    return Request(None, None, str(path.resolve()))


def requirement_of(entry: Entry, version: str | None = None) -> str:
    """Return the PEP 508 requirement for a plugin of a registry.

    Raises:
        PluginError: The registry has a wheel of another version.
    """
    package = entry.package
    if package.wheel is None:
        return f"{entry.name}=={version}" if version else f"{entry.name}>={package.version}"
    if version not in (None, package.version):
        raise PluginError(
            f"The registry {entry.registry} has {entry.name} {package.version}, not {version}.",
            f"Install that: zoo install {entry.name}",
        )
    address = package.wheel if is_address(package.wheel) else Path(package.wheel).as_uri()
    return f"{entry.name} @ {address}#sha256={package.sha256}"


def _unknown(name: str, registries: Sequence[Registry]) -> PluginError:
    plugins = {entry.name for registry in registries for entry in registry.entries}
    of_model = {
        alias.lower(): entry.name
        for registry in reversed(registries)
        for entry in registry.entries
        for card in entry.manifest.models
        for alias in (card.id, *card.aliases)
    }
    if name in of_model:
        return PluginError(
            f"{name} is a model, not a plugin.",
            f"Install its plugin: zoo install {of_model[name]}",
        )
    # People leave out the prefix: zoo install ddpm.
    near = [f"zoo-{name}"] if f"zoo-{name}" in plugins else near_misses(name, [*plugins, *of_model], 3, 0.75)
    near = list(dict.fromkeys(of_model.get(each, each) for each in near))
    return PluginError(
        f"No registry lists a plugin {name!r}.",
        f"Did you mean {' or '.join(near)}? Install it: zoo install {near[0]}"
        if near
        else f"Search for it: zoo search WORD; if you trust that package: zoo install --unlisted {name}",
    )
