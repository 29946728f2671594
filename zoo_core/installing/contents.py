"""The files that a distribution would write, checked before any of them is written."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import sys
import sysconfig
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from pathlib import Path, PurePosixPath

from zoo_core.errors import PluginError, short_repr
from zoo_core.files import is_inside

RUN_AT_START = re.compile(r".*\.pth|(sitecustomize|usercustomize)(\.py|/.*)", re.DOTALL)
"""Files in the site folder that Python executes at every start."""
BESIDE_CODE = ("bin", "etc", "include", "lib", "share", "Scripts")
"""Folders of a prefix that uv's ``--target`` puts beside packages."""


def files_of_wheel(wheel: Path) -> list[Path]:
    """Return the files that installing a wheel writes, as absolute paths.

    Format: https://packaging.python.org/en/latest/specifications/binary-distribution-format/

    Raises:
        PluginError: It is not a wheel, or a path in it leaves the environment.
    """
    try:
        with zipfile.ZipFile(wheel) as archive:
            names = [name for name in archive.namelist() if not name.endswith("/")]
            entry_points = [name for name in names if name.endswith(".dist-info/entry_points.txt")]
            scripts = [s for name in entry_points for s in _scripts(archive.read(name).decode())]
    except (OSError, ValueError, zipfile.BadZipFile) as error:
        raise PluginError(f"{wheel.name} is not a whole wheel: {error}.", "Tell its author.") from None
    return [*map(_place, names), *(_folder("scripts") / script for script in scripts)]


def files_of_target(target: Path) -> list[Path]:
    """Return the files that distributions write which were installed to a folder with ``--target``.

    A name there does not say whether it belongs to the site folder or to the prefix: both are returned.
    """
    found = []
    for path in sorted(target.rglob("*")):
        if path.is_file() and path != target / ".lock":  # uv's own
            name = path.relative_to(target).as_posix()
            found.append(_folder("purelib") / name)
            if name.partition("/")[0] in BESIDE_CODE or "/" not in name:
                found.append(Path(sys.prefix) / name)
    return found


def check_files(files: Iterable[Path], names: Sequence[str]) -> None:
    """Refuse files that replace or hide another distribution's, or that Python runs at every start.

    Args:
        files: What would be written.
        names: The distributions that are installed or replaced.

    Raises:
        PluginError: Names the file, and the distribution it belongs to.
    """
    what, ours = ", ".join(names), frozenset(map(normal_name, names))
    replaced = {file for file, _ in owned_files(ours)}
    remedy = "Nothing was installed. Do not use it, or tell its author."
    for file in files:
        inside = _inside_site(file)
        if inside and RUN_AT_START.fullmatch(inside):
            raise PluginError(
                f"{what} contains {short_repr(inside)}, which Python would run at every start.", remedy
            )
        if os.path.lexists(file) and file not in replaced:
            owner = dict(owned_files(ours, others=True)).get(file, "this environment")
            raise PluginError(f"{what} would replace {file}, which belongs to {owner}.", remedy)
        if inside and (hidden := _hidden_module(inside, replaced)):
            raise PluginError(f"{what} contains {short_repr(inside)}, which would hide {hidden}.", remedy)


def _inside_site(file: Path) -> str:
    """Return a file's path inside the site folder; empty for a file elsewhere."""
    site = (_folder("purelib"), _folder("platlib"))
    return next((file.relative_to(root).as_posix() for root in site if root in file.parents), "")


def _hidden_module(inside: str, replaced: set[Path]) -> Path | None:
    """Return the module of another distribution that a file in the site folder hides or extends."""
    name = re.match(r"[^/.]*", inside)
    top = name[0] if name else ""
    if not top.isidentifier() or ".dist-info/" in inside:
        return None
    try:
        spec = importlib.util.find_spec(top)
    except (ImportError, ValueError):
        return None
    # A namespace package has no origin, and may be shared.
    origin = Path(os.path.normpath(spec.origin)) if spec and spec.has_location and spec.origin else None
    return origin if origin and origin not in replaced else None


def normal_name(name: str) -> str:
    """Return a distribution's name in the form in which names are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def owned_files(names: frozenset[str], *, others: bool = False) -> Iterator[tuple[Path, str]]:
    """Yield every file of the named distributions, or of all others, with its distribution."""
    roots = [str(root) for root in {_folder("purelib"), _folder("platlib")}]
    for distribution in importlib.metadata.distributions(path=roots):
        if (normal_name(distribution.name) in names) != others:
            for file in distribution.files or ():
                yield Path(os.path.normpath(str(distribution.locate_file(file)))), distribution.name


@cache
def _folder(scheme: str) -> Path:
    return Path(os.path.normpath(sysconfig.get_path(scheme)))


def _place(name: str) -> Path:
    """Return where a file of a wheel is installed."""
    if not is_inside(name):
        raise PluginError(
            f"The wheel holds the path {short_repr(name)}, which leaves the environment.", "Do not use it."
        )
    first, _, rest = name.partition("/")
    if not first.endswith(".data"):
        return _folder("purelib") / name
    scheme, _, inside = rest.partition("/")
    if scheme == "data":
        return Path(sys.prefix) / inside
    if scheme == "headers":
        return Path(sys.prefix, "include") / PurePosixPath(inside)
    return _folder(scheme if scheme in ("purelib", "platlib", "scripts") else "purelib") / inside


def _scripts(text: str) -> Iterator[str]:
    """Yield the names of the scripts that an installer makes for an ``entry_points.txt``."""
    section = ""
    for line in map(str.strip, text.splitlines()):
        if line.startswith("["):
            section = line.strip("[]")
        elif section in ("console_scripts", "gui_scripts") and "=" in line:
            yield line.partition("=")[0].strip()
