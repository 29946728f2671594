"""Install with uv, in environments that uv made."""

from __future__ import annotations

import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote

from zoo_core.errors import PluginError
from zoo_core.installing.contents import files_of_target
from zoo_core.installing.installers import Change, held_versions, run


class Uv:
    """uv, applied to this environment."""

    name = "uv"

    def __init__(self, program: str) -> None:
        self._program = program

    def plan(self, requirement: str, *, upgrade: bool, repair: bool, build: bool) -> list[Change]:
        """See :class:`Installer`."""
        options = _again(requirement) if repair else _newer(requirement) if upgrade else []
        return self._plan(requirement, [*options, *([] if build else ["--no-build"])])

    def files(self, changes: Sequence[Change], folder: Path) -> list[Path]:
        """See :class:`Installer`.

        uv cannot download; it installs into the folder instead, which runs nothing.
        """
        with _requirements(changes) as file:
            options = ["--no-deps", "--target", str(folder), "--requirement", str(file)]
            run(self._pip("install"), options, "The download failed")
        return files_of_target(folder)

    def find(self, requirement: str) -> None:
        """See :class:`Installer`."""
        self._plan(requirement, [*_again(requirement), "--no-deps", "--no-build"])

    def _plan(self, requirement: str, options: list[str]) -> list[Change]:
        with tempfile.TemporaryDirectory() as folder:
            held = Path(folder, "held.txt")
            held.write_text(held_versions())
            output = run(
                [*self._pip("install"), "--dry-run", "--constraint", str(held)],
                [*options, "--", requirement],
                f"{requirement} cannot be installed",
            )
        # " + name==1.0", " ~ name==1.0 (from file:///…)", " + name @ file:///…": new, and reinstalled.
        lines = re.findall(r"^ [+~] (\S+?)(?:==(\S+))?(?: @ (\S.*)| \(from (.+)\))?$", output, re.MULTILINE)
        if not lines and "Would make no changes" not in output:
            raise PluginError(
                f"uv did not say what installing {requirement} would change.",
                f"Install another version of uv, or install with pip: {sys.executable} -m ensurepip",
            )
        digest = re.search(r"#sha256=([0-9a-f]{64})$", requirement)
        hashed = f" --hash=sha256:{digest[1]}" if digest else ""
        return [
            _change(name, version, (at or origin).partition("#")[0], hashed)
            for name, version, at, origin in lines
        ]

    def apply(self, changes: Sequence[Change]) -> None:
        """See :class:`Installer`."""
        with _requirements(changes) as file:
            options = [*(f"--reinstall-package={change.name}" for change in changes), "--no-deps"]
            run(self._pip("install"), [*options, "--requirement", str(file)], "The installation failed")

    def remove(self, names: Sequence[str]) -> None:
        """See :class:`Installer`."""
        run(self._pip("uninstall"), ["--", *names], f"{', '.join(names)} cannot be removed")

    def _pip(self, verb: str) -> list[str]:
        return [self._program, "pip", verb, "--python", sys.executable]


def _change(name: str, version: str, address: str, hashed: str) -> Change:
    """Return a change; uv names no version beside an address, but a wheel's name has it."""
    if not address:
        return Change(name, version, f"{name}=={version}")
    wheel = re.search(r"/[^/-]+-([^/-]+)-[^/]+\.whl$", address)
    return Change(name, version or (unquote(wheel[1]) if wheel else ""), f"{name} @ {address}{hashed}")


@contextmanager
def _requirements(changes: Sequence[Change]) -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("\n".join(change.pinned for change in changes))
        yield file


def _again(requirement: str) -> list[str]:
    """Return the option that reinstalls a package."""
    return [f"--reinstall-package={name}" for name in _names(requirement)]


def _newer(requirement: str) -> list[str]:
    """Return the option that upgrades this package only."""
    return [f"--upgrade-package={name}" for name in _names(requirement)]


def _names(requirement: str) -> list[str]:
    """Return the package's name; empty for a path or an address."""
    return re.findall(r"^[\w.-]+(?=[=<>!~ @]|$)", requirement)
