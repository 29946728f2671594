"""Build a registry from source trees, wheels, installed plugins and other registries."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from email.parser import Parser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo_core.errors import RegistryError, ZooError
from zoo_core.manifest.reader import read_manifest
from zoo_core.plugins.discovery import FILE, GROUP, installed_plugins, package_folder, parse_toml, read_toml
from zoo_core.plugins.entrypoints import parse_group
from zoo_core.registry.entries import PACKAGE, read_entry

if TYPE_CHECKING:
    from email.message import Message

HEADER = """\
# A registry of plugins: each [[manifest]] is a zoo.toml, with the package of the plugin.
# Built by zoo registry build; do not edit.

"""

Entry = dict[str, Any]


def build(sources: Sequence[str], folder: Path) -> str:
    """Return the text of a registry, sorted by plugin; every entry is checked as when it is read.

    Args:
        sources: Source trees, wheels, registries (``.toml``) and names of installed plugins; empty: all that
            are installed. Other sources replace the entries of a registry, so that naming it first brings it
            up to date.
        folder: The folder of the registry; paths of wheels are relative to it.

    Raises:
        RegistryError: A source is not a plugin, lacks required metadata, or occurs twice.
        CardError: A manifest is wrong.
    """
    if not sources:
        sources = [plugin.name for plugin in installed_plugins() if plugin.status != "disabled"]
    old: dict[str, Entry] = {}
    new: dict[str, Entry] = {}
    for source in sources:
        if source.endswith(".toml"):
            old |= _from_registry(Path(source))
            continue
        entry = _from_source(source, folder)
        name = read_entry(entry, "", str(folder / "registry.toml")).name
        if name in new:
            raise RegistryError(f"{name} has two sources; one is {source}.", "Give one of the two.")
        new[name] = entry
    import tomli_w

    merged = old | new
    return HEADER + tomli_w.dumps({"manifest": [merged[name] for name in sorted(merged)]})


def _from_source(source: str, folder: Path) -> Entry:
    path = Path(source)
    if source.endswith(".whl"):
        return _from_wheel(path, folder)
    if path.is_dir():
        return _from_tree(path)
    if path.exists():
        raise _no_plugin(source, "it is neither a folder nor a wheel")
    return _from_environment(source)


def _from_registry(file: Path) -> dict[str, Entry]:
    tables = read_toml(file).get("manifest", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise RegistryError(f"{file} is not a registry.", "Give one that zoo registry build made.")
    return {read_entry(table, "", str(file)).name: table for table in tables}


def _from_tree(tree: Path) -> Entry:
    """Return the entry of a source tree, from its pyproject.toml."""
    file = tree / "pyproject.toml"
    if not file.is_file():
        raise _no_plugin(str(tree), "it has no pyproject.toml")
    project: Any = read_toml(file).get("project", {})
    plugins = project.get("entry-points", {}).get(GROUP, {})
    if len(plugins) != 1:
        reason = f'[project.entry-points."{GROUP}"] in its pyproject.toml does not name one plugin'
        raise _no_plugin(str(tree), reason)
    module = str(next(iter(plugins.values())))
    candidates = [root.joinpath(*module.split("."), FILE) for root in (tree, tree / "src")]
    manifest = next((candidate for candidate in candidates if candidate.is_file()), None)
    if manifest is None:
        raise _no_plugin(str(tree), f"there is no {FILE} in {module}")
    licence = project.get("license")
    package = _package(
        str(tree),
        project.get("name"),
        plugins,
        project.get("version"),
        licence if isinstance(licence, str) else (licence or {}).get("text"),
        _project_page(list(project.get("urls", {}).items())),
    )
    return {**_checked(read_toml(manifest), manifest), PACKAGE: package}


def _from_wheel(wheel: Path, folder: Path) -> Entry:
    """Return the entry of a wheel, with its digest; it is installed from beside the registry."""
    try:
        data = wheel.read_bytes()
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
            info = next((n.split("/")[0] for n in names if n.endswith(".dist-info/METADATA")), "")
            metadata = Parser().parsestr(archive.read(f"{info}/METADATA").decode())
            plugins = dict(parse_group(archive.read(f"{info}/entry_points.txt").decode(), GROUP))
            module = next(iter(plugins.values()))
            manifest = parse_toml(archive.read(f"{module.replace('.', '/')}/{FILE}"), wheel / module / FILE)
    except (OSError, KeyError, StopIteration, UnicodeDecodeError, zipfile.BadZipFile) as error:
        raise _no_plugin(str(wheel), f"it is not a wheel with a plugin and its {FILE} ({error})") from None
    try:
        place = wheel.absolute().relative_to(folder.absolute()).as_posix()
    except ValueError:
        raise RegistryError(
            f"{wheel} is not beside the registry.",
            f"Move it to {folder.absolute()} or a folder inside it: it is installed from there.",
        ) from None
    package = {
        **_described(str(wheel), metadata, plugins),
        "wheel": place,
        "sha256": hashlib.sha256(data).hexdigest(),
    }
    return {**_checked(manifest, wheel), PACKAGE: package}


def _from_environment(name: str) -> Entry:
    """Return the entry of an installed plugin, from its distribution's metadata."""
    plugin = {plugin.name: plugin for plugin in installed_plugins()}.get(name)
    if plugin is None:
        raise _no_plugin(name, "it is neither a folder, nor a wheel, nor an installed plugin")
    if plugin.problem is not None:
        raise plugin.problem
    folder, distribution = package_folder(plugin.module), plugin.distribution
    if folder is None or distribution is None:
        raise _no_plugin(name, "it was not installed as a package")
    metadata: Any = distribution.metadata
    return {**read_toml(folder / FILE), PACKAGE: _described(name, metadata, {name: plugin.module})}


def _checked(document: Entry, file: Path) -> Entry:
    """Return the document if it is a valid manifest; an error names its own file."""
    read_manifest(document, file, folder=None)
    return document


def _described(source: str, metadata: Message[str, str], plugins: dict[str, str]) -> dict[str, str]:
    """Return the package table from a distribution's metadata."""
    urls = [tuple(line.split(", ", 1)) for line in metadata.get_all("Project-URL", []) if ", " in line]
    return _package(
        source,
        metadata["Name"],
        plugins,
        metadata["Version"],
        metadata["License-Expression"] or metadata["License"],
        _project_page(urls) or metadata["Home-page"],
    )


def _package(
    source: str, name: Any, plugins: dict[str, str], version: Any, licence: Any, page: Any
) -> dict[str, str]:
    import re

    if re.sub(r"[-_.]+", "-", str(name)).lower() != re.sub(r"[-_.]+", "-", next(iter(plugins))).lower():
        raise RegistryError(
            f"{source}: the distribution {name!r} and its plugin {next(iter(plugins))!r} differ in name.",
            "Give both the same name, which is the one that is installed.",
        )
    for key, value, example in (("version", version, "1.0"), ("license", licence, "MIT")):
        if not isinstance(value, str) or not value.strip():
            raise RegistryError(
                f"{source}: its pyproject.toml does not state the {key} as text.",
                f'Add it to [project]: {key} = "{example}"; or give a wheel.',
            )
    return {"version": version, "license": licence} | ({"source": page} if page else {})


def _project_page(urls: Sequence[Any]) -> str | None:
    """Return the address of the source code, or else of the project."""
    by_label = {str(label).lower(): str(url) for label, url in urls}
    for label in ("source", "source code", "repository", "github", "homepage"):
        if label in by_label:
            return by_label[label]
    return None


def _no_plugin(source: str, reason: str) -> ZooError:
    return RegistryError(
        f"{source} is not a plugin: {reason}.",
        "Give folders with a pyproject.toml, wheels, or installed plugins (zoo plugins).",
    )
