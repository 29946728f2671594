"""What an installer does for the zoo, whether it is pip or uv.

Both are asked first what they would do. What they then do is just that: the versions they named, and for pip
with the digests it found, without looking for anything else. The core and torch stay as they are.
"""

from __future__ import annotations

import importlib.metadata
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zoo_core.errors import PluginError

HELD = ("zoo-core", "torch")
"""What no plugin's install changes: the running program, and gigabytes that were chosen with care."""


@dataclass(frozen=True)
class Change:
    """A distribution that would be installed, or changed to another version."""

    name: str
    version: str
    pinned: str
    """The line of a requirements file that stands for exactly this one."""
    license: str | None = None
    """As its metadata states it, where the installer tells."""

    @property
    def previous(self) -> str | None:
        """The version that is here now; None if it is not installed."""
        return installed_version(self.name)


class Installer(Protocol):
    """What installs distributions into this environment."""

    name: str

    def plan(self, requirement: str, *, upgrade: bool, repair: bool) -> list[Change]:
        """What installing a requirement would change; nothing is changed yet.

        Args:
            requirement: As PEP 508 writes it, or a path.
            upgrade: Take the newest version, even if one that fits is here.
            repair: Install it anew, though it is here.

        Raises:
            PluginError: It cannot be had, or not together with what is here.
        """
        ...

    def find(self, requirement: str) -> None:
        """Make sure that a requirement can be had, whatever is here and whatever it needs itself.

        Raises:
            PluginError: It cannot.
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
            PluginError: That was not possible.
        """
        ...


def installed_version(name: str) -> str | None:
    """The version of a distribution that is here; None if it is not."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def held_versions() -> str:
    """Constraints that keep what no install changes."""
    return "".join(f"{name}=={version}\n" for name in HELD if (version := installed_version(name)))


def run(command: list[str], arguments: list[str], failure: str) -> str:
    """What the installer wrote.

    Raises:
        PluginError: It failed; says its own reason, and where the core or torch stand in the way.
    """
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    if done.returncode == 0:
        return told
    on_one_line = " ".join(told.split())  # uv breaks lines by its own count
    for name in HELD:
        version = installed_version(name) or ""
        # pip: "(constraint) torch==2.0", uv: "depend on torch==1.0 and torch==2.0".
        if re.search(rf"(\(constraint\)|and) {name}[^ ]*=={re.escape(version)}\b", on_one_line):
            raise PluginError(
                f"{failure}: it needs another {name} than {version}, which zoo install never changes.",
                f"Take another version of the plugin, or change {name} yourself.",
            )
    raise PluginError(
        f"{failure}: {_reason(told)}", f"Run it yourself to see more: {' '.join(arguments[-1:])}"
    )


def _reason(told: str) -> str:
    """The first error in what an installer wrote, on one line."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    first = next((n for n, line in enumerate(lines) if line.lower().startswith("error:")), None)
    if first is None:
        return lines[-1] if lines else "it did not say why."
    causes = [line for line in lines[first + 1 : first + 2] if line.startswith("cause:")]
    return " ".join([lines[first].partition(":")[2].strip(), *causes])
