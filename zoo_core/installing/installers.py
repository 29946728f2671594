"""The installer of this environment: pip, or uv where uv made the environment.

Both are asked first what they would do. What they then do is just that: the versions they named, and for pip
with the digests it found, without looking for anything else. The core and torch stay as they are.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

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


def installer_of_this_environment() -> Installer:
    """uv where ``pyvenv.cfg`` says that uv made this environment, else pip.

    Raises:
        PluginError: It is not there.
    """
    try:
        made_by_uv = re.search(r"^uv\s*=", Path(sys.prefix, "pyvenv.cfg").read_text(), re.MULTILINE)
    except OSError:
        made_by_uv = None
    if made_by_uv:
        beside = Path(sys.executable).with_name("uv")
        if program := str(beside) if beside.exists() else shutil.which("uv"):
            return Uv(program)
    if importlib.util.find_spec("pip") is not None:
        return Pip()
    raise PluginError(
        f"{sys.prefix} has neither pip nor uv, so that nothing can be installed.",
        f"Make uv known by PATH, or get pip: {sys.executable} -m ensurepip",
    )


def installed_version(name: str) -> str | None:
    """The version of a distribution that is here; None if it is not."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


class Pip:
    """pip, as this environment has it."""

    name = "pip"

    def plan(self, requirement: str, *, upgrade: bool, repair: bool) -> list[Change]:
        """See :class:`Installer`."""
        changes = self._plan(requirement, ["--upgrade"] if upgrade else [])
        if repair and not any(change.requested for change in changes):
            changes += self._plan(requirement, ["--force-reinstall", "--no-deps"])
        return [change.as_change() for change in changes]

    def find(self, requirement: str) -> None:
        """See :class:`Installer`."""
        self._plan(requirement, ["--force-reinstall", "--no-deps"])

    def _plan(self, requirement: str, options: list[str]) -> list[_Reported]:
        with tempfile.TemporaryDirectory() as folder:
            report, held = Path(folder, "report.json"), Path(folder, "held.txt")
            held.write_text(_held())
            _run(
                [
                    *_PIP,
                    "install",
                    "--dry-run",
                    "--report",
                    str(report),
                    "--constraint",
                    str(held),
                ],
                [*options, "--", requirement],
                f"{requirement} cannot be installed",
            )
            found = json.loads(report.read_text(encoding="utf-8"))
        return [_Reported(item) for item in found["install"]]

    def apply(self, changes: Sequence[Change]) -> None:
        """See :class:`Installer`."""
        lines = [change.pinned for change in changes]
        if not all("--hash" in line for line in lines):  # a folder has none, and pip wants all or nothing
            lines = [line.partition(" --hash")[0] for line in lines]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "requirements.txt")
            file.write_text("\n".join(lines))
            options = ["--no-deps", "--force-reinstall", "--requirement", str(file)]
            _run([*_PIP, "install", "--quiet"], options, "The installation failed")

    def remove(self, names: Sequence[str]) -> None:
        """See :class:`Installer`."""
        _run(
            [*_PIP, "uninstall", "--quiet", "--yes"], ["--", *names], f"{', '.join(names)} cannot be removed"
        )


class _Reported:
    """One entry of pip's installation report.

    Format: https://pip.pypa.io/en/stable/reference/installation-report/
    """

    def __init__(self, item: dict[str, Any]) -> None:
        self.requested = bool(item["requested"])
        self._metadata, self._download, self._direct = (
            item["metadata"],
            item["download_info"],
            item["is_direct"],
        )

    def as_change(self) -> Change:
        """The change with the line that asks for this very file."""
        name, version = self._metadata["name"], self._metadata["version"]
        line = f"{name} @ {self._download['url']}" if self._direct else f"{name}=={version}"
        for kind, digest in sorted(self._download.get("archive_info", {}).get("hashes", {}).items()):
            line += f" --hash={kind}:{digest}"
        licence = self._metadata.get("license_expression") or self._metadata.get("license")
        return Change(name, version, line, licence)


class Uv:
    """uv, told which environment is meant."""

    name = "uv"

    def __init__(self, program: str) -> None:
        self._program = program

    def plan(self, requirement: str, *, upgrade: bool, repair: bool) -> list[Change]:
        """See :class:`Installer`."""
        return self._plan(requirement, _again(requirement) if repair else ["--upgrade"] if upgrade else [])

    def find(self, requirement: str) -> None:
        """See :class:`Installer`."""
        self._plan(requirement, [*_again(requirement), "--no-deps"])

    def _plan(self, requirement: str, options: list[str]) -> list[Change]:
        with tempfile.TemporaryDirectory() as folder:
            held = Path(folder, "held.txt")
            held.write_text(_held())
            told = _run(
                [*self._pip("install"), "--dry-run", "--constraint", str(held)],
                [*options, "--", requirement],
                f"{requirement} cannot be installed",
            )
        # " + name==1.0", " ~ name==1.0 (from file:///…)": what comes, and what is made anew.
        lines = re.finditer(r"^ [+~] (\S+?)(?:==(\S+))?(?: \(from (.+)\))?$", told, re.MULTILINE)
        return [Change(m[1], m[2] or "", f"{m[1]} @ {m[3]}" if m[3] else f"{m[1]}=={m[2]}") for m in lines]

    def apply(self, changes: Sequence[Change]) -> None:
        """See :class:`Installer`."""
        options = [*(f"--reinstall-package={change.name}" for change in changes), "--no-deps", "--"]
        pinned = [change.pinned for change in changes]
        _run(self._pip("install"), [*options, *pinned], "The installation failed")

    def remove(self, names: Sequence[str]) -> None:
        """See :class:`Installer`."""
        _run(self._pip("uninstall"), ["--", *names], f"{', '.join(names)} cannot be removed")

    def _pip(self, verb: str) -> list[str]:
        return [self._program, "pip", verb, "--python", sys.executable]


def _again(requirement: str) -> list[str]:
    """uv's option that installs a package anew, though it is here."""
    name = re.match(r"[\w.-]+", requirement)
    return ["--reinstall-package", name[0]] if name else []


# Neither a pip.py nor a folder called pip in the working folder is to be run in pip's place.
_PIP = [sys.executable, "-P", "-m", "pip", "--no-input", "--disable-pip-version-check"]


def _held() -> str:
    return "".join(f"{name}=={version}\n" for name in HELD if (version := installed_version(name)))


def _run(command: list[str], arguments: list[str], failure: str) -> str:
    """What the installer wrote.

    Raises:
        PluginError: It failed; says its own reason, and where the core or torch stand in the way.
    """
    done = subprocess.run([*command, *arguments], capture_output=True, text=True, check=False)
    told = done.stdout + done.stderr
    if done.returncode == 0:
        return told
    for name in HELD:
        version = installed_version(name) or ""
        # pip: "(constraint) torch==2.0", uv: "depend on torch==1.0 and torch==2.0".
        if re.search(rf"(\(constraint\)|and) {name}[^ ]*=={re.escape(version)}\b", told):
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
