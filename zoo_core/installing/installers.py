"""The interface of an installer, pip or uv.

An installer first reports what it would do, and then does exactly that: the versions it named, for pip with
the digests it found. The core and torch never change.
"""

from __future__ import annotations

import importlib.metadata
import re
import shlex
import subprocess
from collections.abc import Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from zoo_core.errors import PluginError

_TEMPORARY = ("--constraint", "--report")
"""Options of an installer's command that name files of ours."""
_WHEELS_ONLY = {"--only-binary", "--no-build"}
"""Options of pip and uv that install wheels alone."""
SOURCE_ARCHIVES = (".tar.gz", ".tar.bz2", ".zip")
HELD = ("zoo-core", "torch")
"""Distributions that no install changes: the running program, and gigabytes that the user chose."""


@dataclass(frozen=True)
class Change:
    """A distribution that would be installed or replaced."""

    name: str
    version: str
    pinned: str
    """The line of a requirements file that names exactly this file."""
    license: str | None = None
    """The licence in its metadata, if the installer reports it."""

    @property
    def previous(self) -> str | None:
        """The version that is installed; None if it is not."""
        return installed_version(self.name)


class Installer(Protocol):
    """Installs distributions into this environment."""

    name: str

    def plan(self, requirement: str, *, upgrade: bool, repair: bool, build: bool) -> list[Change]:
        """Return what installing a requirement would change; nothing is changed.

        Args:
            requirement: A PEP 508 requirement, or a path.
            upgrade: Take the newest version, even if an installed one fits.
            repair: Reinstall it even if it is installed.
            build: Build source distributions, which runs their code; without it only wheels are used, and
                nothing of a package is run.

        Raises:
            PluginError: It is not available, or conflicts with what is installed.
        """
        ...

    def find(self, requirement: str) -> None:
        """Check that a requirement is available, without its dependencies.

        Raises:
            PluginError: It is not.
        """
        ...

    def files(self, changes: Sequence[Change], folder: Path) -> list[Path]:
        """Return every file that the changes would write; nothing is installed.

        Args:
            changes: From :meth:`plan`.
            folder: An empty folder for downloads.

        Raises:
            PluginError: A distribution cannot be downloaded, or is damaged.
        """
        ...

    def apply(self, changes: Sequence[Change]) -> None:
        """Make exactly these changes.

        Raises:
            PluginError: One of them failed; others may have been made.
        """
        ...

    def remove(self, names: Sequence[str]) -> None:
        """Remove distributions.

        Raises:
            PluginError: They cannot be removed.
        """
        ...


def installed_version(name: str) -> str | None:
    """Return the version of an installed distribution; None if it is not installed."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def held_versions() -> str:
    """Return constraints that hold the versions of ``HELD``."""
    return "".join(f"{name}=={version}\n" for name in HELD if (version := installed_version(name)))


def refuse_to_build(requirement: str) -> None:
    """Refuse a requirement that can only be installed by building it.

    Raises:
        PluginError: It is a folder, a source archive or a repository.
    """
    target = requirement.rpartition(" @ ")[2]
    place = Path(target)
    is_source = place.is_dir() or target.startswith("git+") or target.endswith(SOURCE_ARCHIVES)
    if is_source:
        raise PluginError(
            f"{requirement} has to be built, which runs its code before anything is shown.",
            "If you trust it, add --build; or give a wheel (.whl).",
        )


inherited: ContextVar[tuple[int, ...]] = ContextVar("inherited", default=())
"""Open files that an installer inherits: a lock on them lasts until it ends, even if the zoo is killed."""


def run(command: list[str], arguments: list[str], failure: str) -> str:
    """Run the installer and return its output.

    Raises:
        PluginError: It failed; gives its reason, or says that the core or torch would have to change.
    """
    done = subprocess.run(
        [*command, *arguments], capture_output=True, text=True, check=False, pass_fds=inherited.get()
    )
    output = done.stdout + done.stderr
    if done.returncode == 0:
        return output
    on_one_line = " ".join(output.split())  # uv wraps lines
    for name in HELD:
        version = installed_version(name) or ""
        # pip: "(constraint) torch==2.0", uv: "depend on torch==1.0 and torch==2.0".
        if re.search(rf"(\(constraint\)|and) {name}[^ ]*=={re.escape(version)}\b", on_one_line):
            raise PluginError(
                f"{failure}: it needs another {name} than {version}, which zoo install never changes.",
                f"Install another version of the plugin, or change {name} yourself.",
            )
    raise PluginError(f"{failure}: {_reason(output)}", _retry([*command, *arguments]))


def _retry(command: list[str]) -> str:
    """Say how to see more: the command without files that are gone by now, if anything is left of it."""
    if "--requirement" in command:
        return "Check the network and the free space, and try again; if it fails again, tell its author."
    gone = {i + offset for i, word in enumerate(command) if word in _TEMPORARY for offset in (0, 1)}
    kept = [word for i, word in enumerate(command) if i not in gone]
    build = (
        "If it has no wheel, --build makes one, which runs its code. " if _WHEELS_ONLY & {*command} else ""
    )
    return f"{build}See the whole output: {shlex.join(kept)}"


def _reason(output: str) -> str:
    """Return the first error in an installer's output, on one line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    first = next((n for n, line in enumerate(lines) if line.lower().startswith("error:")), None)
    if first is None:
        return lines[-1] if lines else "it gave no reason."
    causes = [line for line in lines[first + 1 : first + 2] if line.startswith("cause:")]
    return " ".join([lines[first].partition(":")[2].strip(), *causes])
