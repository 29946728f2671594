"""Install with pip."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from zoo_core.installing.installers import Change, held_versions, run

# -P: a pip.py in the working folder must not run instead of pip.
_PIP = [sys.executable, "-P", "-m", "pip", "--no-input", "--disable-pip-version-check"]


class Pip:
    """This environment's pip."""

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
            held.write_text(held_versions())
            dry_run = ["--dry-run", "--report", str(report), "--constraint", str(held)]
            command = [*_PIP, "install", *dry_run]
            run(command, [*options, "--", requirement], f"{requirement} cannot be installed")
            found = json.loads(report.read_text(encoding="utf-8"))
        return [_Reported(item) for item in found["install"]]

    def apply(self, changes: Sequence[Change]) -> None:
        """See :class:`Installer`."""
        lines = [change.pinned for change in changes]
        if not all(
            "--hash" in line for line in lines
        ):  # a folder has none, and pip wants hashes for all or for none
            lines = [line.partition(" --hash")[0] for line in lines]
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "requirements.txt")
            file.write_text("\n".join(lines))
            options = ["--no-deps", "--force-reinstall", "--requirement", str(file)]
            run([*_PIP, "install", "--quiet"], options, "The installation failed")

    def remove(self, names: Sequence[str]) -> None:
        """See :class:`Installer`."""
        run([*_PIP, "uninstall", "--quiet", "--yes"], ["--", *names], f"{', '.join(names)} cannot be removed")


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
