"""A third party follows docs/plugins.md, from the first command to the last.

One shell runs the page's commands in order, unchanged, in an empty folder. Its environment has the core and
its dependencies, but no plugin. The resulting wheel is then installed in another environment.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path

import pytest
from environments import ROOT, Environment, core, third_parties

from zoo_core.testing.hub import isolation

pytestmark = pytest.mark.slow

GUIDE = ROOT / "docs" / "plugins.md"
OFFLINE = {
    "PIP_NO_INDEX": "1",
    "PIP_NO_DEPS": "1",
    "PIP_NO_BUILD_ISOLATION": "0",  # means: no isolation
    "PIP_QUIET": "1",
    "OMP_NUM_THREADS": "1",
}


def commands() -> list[str]:
    """Return every command of the page: the lines of its ``sh`` blocks."""
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    return [line for block in blocks for line in block.splitlines() if line.strip()]


def environment(folder: Path, visible: list[Path], home: Path) -> Environment:
    """Create an environment with the scripts ``zoo`` and ``pytest``, as an installer writes them."""
    made = Environment(folder, visible, {**OFFLINE, **isolation(home), "PATH": f"{folder}/bin:/usr/bin:/bin"})
    made.add_script("zoo", "zoo_core.cli", "main")
    made.add_script("pytest", "pytest", "console_main")
    return made


@pytest.mark.slow
def test_the_commands_of_the_page_lead_to_a_working_wheel(tmp_path):
    others = [third_parties(tmp_path / "others"), core(tmp_path / "core")]
    author = environment(tmp_path / "author", others, tmp_path / "home")
    work = tmp_path / "work"
    work.mkdir()
    assert author.zoo("plugins", "--json").stdout.strip() == "[]"

    script = "set -eux\n" + "\n".join(commands())
    done = subprocess.run(
        ["sh", "-c", script], cwd=work, env=author.variables, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert sorted(os.listdir(work)) == ["zoo-mymodel", "zoo-mywriter"]
    plugin = work / "zoo-mymodel"
    assert (plugin / "samples.png").stat().st_size > 1000
    assert (plugin / "mymodel.png").exists()

    (wheel,) = (plugin / "dist").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = plugin / "zoo_mymodel"
    assert names == {
        f"zoo_mymodel/{path.relative_to(package).as_posix()}"
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }

    stranger = environment(tmp_path / "stranger", others, tmp_path / "strangers-home")
    assert stranger.run("-m", "pip", "install", wheel).returncode == 0
    (listed,) = json.loads(stranger.zoo("list", "--json").stdout)
    assert (listed["id"], listed["license"]) == ("mymodel", "mit")
    made = stranger.zoo("run", "mymodel", "--seed", "0", "-o", stranger.folder / "x.png")
    assert made.returncode == 0, made.stderr
    assert (stranger.folder / "x.png").read_bytes() == (plugin / "mymodel.png").read_bytes()
    doctor = stranger.zoo("doctor")
    assert doctor.returncode == 0, doctor.stdout
    assert "No problems found." in doctor.stdout


def test_the_page_shows_every_step():
    said = "\n".join(commands())
    for step in ("zoo new", "pip install -e", "zoo list", "zoo run", "zoo check", "pytest", "pip wheel"):
        assert step in said
