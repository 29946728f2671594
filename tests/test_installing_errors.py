"""An installer's failure ends in a command that can be typed."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from zoo_core.errors import PluginError
from zoo_core.installing.installers import run

FAILS = [sys.executable, "-c", "import sys; sys.exit('ERROR: No matching distribution found for zoo-ddpm')"]


def test_the_whole_output_can_be_seen_without_our_temporary_files(tmp_path: Path) -> None:
    held = [
        "--dry-run",
        "--constraint",
        str(tmp_path / "held.txt"),
        "--report",
        str(tmp_path / "report.json"),
    ]
    with pytest.raises(PluginError) as caught:
        run([*FAILS, *held], ["--", "zoo-ddpm>=0.1.0"], "zoo-ddpm>=0.1.0 cannot be installed")
    problem = caught.value
    assert problem.message.endswith("cannot be installed: No matching distribution found for zoo-ddpm")
    assert problem.remedy.startswith(f"See the whole output: {sys.executable} -c ")
    assert problem.remedy.endswith("--dry-run -- 'zoo-ddpm>=0.1.0'")


def test_a_command_that_needs_our_files_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        run(FAILS, ["--requirement", str(tmp_path / "requirements.txt")], "The installation failed")
    assert caught.value.remedy.startswith("Check the network and the free space, and try again")
