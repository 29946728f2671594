"""Fresh environments for tests that install things, away from this one."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from site import getsitepackages

from packaging.requirements import Requirement

from zoo_core.testing.plugins import write_plugin

ROOT = Path(__file__).parents[2]
HIDDEN = re.compile(r"zoo|__|(pip|uv)([-.]|$)")
"""Names in a site folder that another environment does not see: the zoo's, and installers'."""


def third_parties(folder: Path, needed: Iterable[str] | None = None) -> Path:
    """A folder through which another environment sees what others wrote, torch above all; no zoo.

    Installing torch anew takes minutes. Editable installs are not seen through it, nor is any plugin.

    Args:
        folder: Where it is made.
        needed: Requirements, as metadata writes them: only what these ask for, and what that asks for, is
            seen. Else it is everything.
    """
    folder.mkdir()
    seen = None if needed is None else {entry for name in _closure(needed) for entry in _entries(name)}
    for site in map(Path, getsitepackages()):
        for entry in site.iterdir():
            hidden = HIDDEN.match(entry.name.lower()) or entry.suffix == ".pth"
            if not hidden and (seen is None or entry.name in seen):
                (folder / entry.name).symlink_to(entry)
    return folder


def _closure(requirements: Iterable[str]) -> set[str]:
    """Names of the distributions that requirements ask for, and those ask for, as far as they are here."""
    found: set[str] = set()
    queue = [Requirement(line) for line in requirements]
    while queue:
        requirement = queue.pop()
        applies = requirement.marker is None or requirement.marker.evaluate({"extra": ""})
        if not applies or requirement.name in found or requirement.name.startswith("zoo"):
            continue
        found.add(requirement.name)
        for line in importlib.metadata.requires(requirement.name) or ():
            inner = Requirement(line)
            if inner.marker is None or any(
                inner.marker.evaluate({"extra": extra}) for extra in ("", *requirement.extras)
            ):
                inner.marker = None
                queue.append(inner)
    return found


def _entries(name: str) -> set[str]:
    """What a distribution has in the site folder."""
    return {file.parts[0] for file in importlib.metadata.files(name) or ()}


def core(folder: Path) -> Path:
    """A folder through which another environment sees the core of this tree, and no plugin."""
    folder.mkdir()
    (info,) = (path for site in getsitepackages() for path in Path(site).glob("zoo_core-*.dist-info"))
    for path in (ROOT / "zoo_core", ROOT / "registry.toml", info):
        (folder / path.name).symlink_to(path)
    return folder


def write_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    manifest: str | None = None,
    source: str = "",
    *,
    requires: Sequence[str] = (),
    damaged: bool = False,
    extra: Mapping[str, str] | None = None,
) -> Path:
    """A wheel, a plugin's where it has a manifest; a damaged one can be opened, but not unpacked.

    ``extra`` are more files, by their path in the wheel.
    """
    package = name.replace("-", "_")
    wheel = folder / f"{package}-{version}-py3-none-any.whl"
    laid = folder / f".{package}-{version}"
    files = {"weights/config.json": "{}"} if manifest else {}
    write_plugin(laid, name, manifest, source, version=version, requires=requires, files=files)
    info = laid / f"{package}-{version}.dist-info"
    (info / "WHEEL").write_text(
        "Wheel-Version: 1.0\nGenerator: tests\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    )
    with (info / "METADATA").open("a") as file:
        file.write("License-Expression: MIT\nProject-URL: Source, https://example.com/source\n")
    if manifest is None:
        (info / "entry_points.txt").unlink()
    for path, text in (extra or {}).items():
        (laid / path).parent.mkdir(parents=True, exist_ok=True)
        (laid / path).write_text(text)
    if damaged:
        (laid / package / "zzz.bin").write_bytes(b"whole and sound " * 100)
    with zipfile.ZipFile(wheel, "w") as archive:
        for path in sorted(laid.rglob("*")):
            if path.is_file():
                archive.write(path, path.relative_to(laid))
    shutil.rmtree(laid)
    if damaged:
        wheel.write_bytes(wheel.read_bytes().replace(b"whole and sound ", b"hole and unsound", 1))
    return wheel


class Environment:
    """A virtual environment, with the zoo in it by ``python -m zoo_core``.

    Args:
        folder: Where it is made.
        visible: Folders whose packages it sees beside its own.
        variables: Of its processes, beside those of this one.
    """

    def __init__(
        self, folder: Path, visible: list[Path], variables: dict[str, str], uv: Path | None = None
    ) -> None:
        self.folder = folder
        if uv:
            subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, folder], check=True)
        else:
            subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder], check=True)
        self.site = next(folder.glob("lib/*/site-packages"))
        if not uv:  # a copy of the pip that is here: ensurepip takes five seconds
            for name in _entries("pip") - {".."}:
                shutil.copytree(
                    Path(str(importlib.metadata.distribution("pip").locate_file(name))), self.site / name
                )
            self.add_script("pip", "pip._internal.cli.main", "main")
        (self.site / "visible.pth").write_text("".join(f"{path}\n" for path in visible))
        clean = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("PIP_", "PYTHON", "UV_"))
        }
        self.variables = {
            **clean,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            **variables,
        }

    def add_script(self, name: str, module: str, function: str) -> None:
        """Write a script as an installer does."""
        path = self.folder / "bin" / name
        path.write_text(
            f"#!{self.python}\nimport sys\nfrom {module} import {function}\n"
            f'if __name__ == "__main__":\n    sys.exit({function}())\n'
        )
        path.chmod(0o755)

    @property
    def python(self) -> Path:
        return self.folder / "bin" / "python"

    def run(self, *words: str | Path, **options: object) -> subprocess.CompletedProcess[str]:
        """Run its Python in its own folder."""
        settings = {
            "cwd": self.folder,
            "env": self.variables,
            "capture_output": True,
            "text": True,
            **options,
        }
        return subprocess.run([self.python, *words], check=False, **settings)  # type: ignore[call-overload, no-any-return]

    def zoo(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return self.run("-m", "zoo_core", *words)

    def state(self) -> tuple[set[str], set[str]]:
        """Distributions in its own site folder, and every file but bytecode of that and of its scripts."""
        installed = {
            "{}=={}".format(*path.name.removesuffix(".dist-info").replace("_", "-").rsplit("-", 1))
            for path in self.site.glob("*.dist-info")
        }
        files = {
            str(path.relative_to(self.folder))
            for root in (self.site, self.folder / "bin")
            for path in root.rglob("*")
            if "__pycache__" not in path.parts
        }
        return {each for each in installed if not each.startswith("pip==")}, files


def example_site(folder: Path, name: str) -> Path:
    """A site folder with a plugin of ``examples/``: put it on ``PYTHONPATH`` or ``sys.path``."""
    package = write_plugin(folder, name, None)
    shutil.rmtree(package)
    package.symlink_to(ROOT / "examples" / name / package.name)
    return folder
