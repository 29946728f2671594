"""Install with pip."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from zoo_core.installing.contents import files_of_wheel
from zoo_core.installing.installers import Change, held_versions, run

# -P: a pip.py in the working folder must not run instead of pip.
_PIP = [sys.executable, "-P", "-m", "pip", "--no-input", "--disable-pip-version-check"]
_WHEELS = ["--only-binary", ":all:"]


class Pip:
    """This environment's pip."""

    name = "pip"

    def plan(self, requirement: str, *, upgrade: bool, repair: bool, build: bool) -> list[Change]:
        """See :class:`Installer`."""
        wheels = [] if build else _WHEELS
        changes = self._plan(requirement, [*wheels, *(["--upgrade"] if upgrade else [])])
        if repair and not any(change.requested for change in changes):
            changes += self._plan(requirement, [*wheels, "--force-reinstall", "--no-deps"])
        return [change.as_change() for change in changes]

    def files(self, changes: Sequence[Change], folder: Path) -> list[Path]:
        """See :class:`Installer`."""
        with _requirements(changes) as file:
            options = ["--no-deps", "--wheel-dir", str(folder), "--requirement", str(file)]
            run([*_PIP, "wheel", "--quiet"], options, "The download failed")
        return [path for wheel in sorted(folder.glob("*.whl")) for path in files_of_wheel(wheel)]

    def find(self, requirement: str) -> None:
        """See :class:`Installer`."""
        self._plan(requirement, [*_WHEELS, "--force-reinstall", "--no-deps"])

    def _plan(self, requirement: str, options: list[str]) -> list[_Reported]:
        with tempfile.TemporaryDirectory() as folder:
            report, held = Path(folder, "report.json"), Path(folder, "held.txt")
            held.write_text(held_versions())
            dry_run = ["--dry-run", "--report", str(report), "--constraint", str(held)]
            command = [*_PIP, "install", *dry_run]
            run(command, [*options, "--", requirement], f"{requirement} cannot be installed")
            found = json.loads(report.read_text(encoding="utf-8"))
        return [_Reported(item) for item in found["install"]]

    def apply(self, changes: Sequence[Change]) -> None:
        """See :class:`Installer`."""
        with _requirements(changes) as file:
            options = ["--no-deps", "--force-reinstall", "--requirement", str(file)]
            run([*_PIP, "install", "--quiet"], options, "The installation failed")

    def remove(self, names: Sequence[str]) -> None:
        """See :class:`Installer`."""
        run([*_PIP, "uninstall", "--quiet", "--yes"], ["--", *names], f"{', '.join(names)} cannot be removed")


@contextmanager
def _requirements(changes: Sequence[Change]) -> Iterator[Path]:
    """Write a requirements file that names exactly the files of these changes."""
    lines = [change.pinned for change in changes]
    # A folder has no hash, and pip wants hashes for all or for none.
    if not all("--hash" in line for line in lines):
        lines = [line.partition(" --hash")[0] for line in lines]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "requirements.txt")
        file.write_text("\n".join(lines))
        yield file


class _Reported:
    """One entry of pip's installation report.

    Format: https://pip.pypa.io/en/stable/reference/installation-report/
    """

    def __init__(self, item: dict[str, Any]) -> None:
        self.requested = bool(item["requested"])
        self._metadata, self._download = item["metadata"], item["download_info"]
        self._direct = item["is_direct"]

    def as_change(self) -> Change:
        """Return the change, with the line that names this very file."""
        name, version = self._metadata["name"], self._metadata["version"]
        line = f"{name} @ {self._download['url']}" if self._direct else f"{name}=={version}"
        for kind, digest in sorted(self._download.get("archive_info", {}).get("hashes", {}).items()):
            line += f" --hash={kind}:{digest}"
        licence = self._metadata.get("license_expression") or self._metadata.get("license")
        return Change(name, version, line, licence)
