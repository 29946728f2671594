"""zoo install and uninstall, by the genuine pip and uv in genuine environments, from an index made here.

An environment sees torch and what else others wrote through a .pth file; what is installed goes into its own.
"""

from __future__ import annotations

import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path
from subprocess import DEVNULL

import pytest
from environments import Environment, core, third_parties, write_wheel

from zoo_core.registry.build import build
from zoo_core.testing.hub import isolation

pytestmark = pytest.mark.slow

MANIFEST = """\
schema = 1
[plugin]
name = "{0}"
summary = "Grey squares"
[[model]]
id = "{0}-grey"
summary = "grey squares"
family = "other"
output = "image"
license = "cc0-1.0"
weights = {{ embedded = "weights" }}
"""

SOURCE = """\
from zoo_core import Step, hookimpl

@hookimpl
def zoo_create_generator(card, checkpoint, device, dtype):
    return Grey()

class Grey:
    dtype = "float32"
    def generate(self, batch):
        yield Step(images=batch.noise.uniform(3, 4, 4) * 2 - 1)
"""

BREAKS_ITS_PROMISE = SOURCE.replace("* 2 - 1", "* 40 - 1")

ELSEWHERE = {
    "zoo_liar-1.0.data/data/etc/liar.conf": "",
    "zoo_liar-1.0.data/data/share/liar/x/y.txt": "",
    "zoo_liar-1.0.data/headers/liar.h": "",
    "zoo_liar-1.0.data/scripts/liar": "#!python\n",
}
"""Data, headers and a script, which are installed outside the site folder."""


@pytest.fixture(scope="module")
def index(tmp_path_factory):
    """A simple index: a plugin in four versions, what it needs, and others that cannot be installed."""
    folder = tmp_path_factory.mktemp("index")

    def add(name, version="1.0", **settings):
        (folder / "simple" / name).mkdir(parents=True, exist_ok=True)
        return write_wheel(folder / "simple" / name, name, version, **settings)

    def plugin(name, version="1.0", source=SOURCE, **settings):
        return add(name, version, manifest=MANIFEST.format(name), source=source, **settings)

    add("leaf-needs")
    plugin("zoo-leaf", "1.0", requires=["leaf-needs"])
    listed = [plugin("zoo-leaf", "1.1", requires=["leaf-needs"])]
    plugin("zoo-leaf", "1.2", requires=["leaf-needs"], damaged=True)
    plugin("zoo-leaf", "1.3", requires=["leaf-needs"], source=BREAKS_ITS_PROMISE)
    add("other-needs")
    listed.append(plugin("zoo-damaged", requires=["other-needs"], damaged=True))
    listed.append(plugin("zoo-liar", requires=["other-needs"], source=BREAKS_ITS_PROMISE, extra=ELSEWHERE))
    listed.append(plugin("zoo-greedy", requires=["other-needs", "torch==0.1"]))
    listed.append(plugin("zoo-future", requires=["zoo-core>=99"]))
    listed.append(plugin("zoo-lost", requires=["there-is-no-such-thing"]))
    add("not-a-plugin")
    # The registry leaves the wheels to the index.
    text = build([str(wheel) for wheel in listed], folder)
    lines = [line for line in text.splitlines() if not line.startswith(("wheel =", "sha256 ="))]
    (folder / "registry.toml").write_text("\n".join(lines).replace('"1.1"', '"1.0"'))
    return folder


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """An environment with the core and no plugin; tests leave it as they found it."""
    folder = tmp_path_factory.mktemp("environment")
    visible = [third_parties(folder / "third-parties"), core(folder / "core")]
    return Environment(folder / "venv", visible, isolation(folder / "home"))


@pytest.fixture
def there(made, index, served):
    """The environment with the index behind an address, and the registry configured."""
    shutil.copytree(index, served.folder, dirs_exist_ok=True)
    made.variables["PIP_INDEX_URL"] = made.variables["UV_DEFAULT_INDEX"] = f"{served.address}/simple"
    configure(made, served.folder / "registry.toml")
    return made


def configure(environment: Environment, registry: Path) -> None:
    home = Path(environment.variables["ZOO_HOME"])
    home.mkdir(parents=True, exist_ok=True)
    (home / "config.toml").write_text(f'[registries]\nmine = "{registry}"\n')


def test_a_plugin_is_installed_upgraded_run_and_removed(there):
    before = there.state()
    done = there.zoo("install", "--yes", "zoo-leaf==1.0")
    assert done.returncode == 0, done.stderr
    assert "zoo-leaf 1.0: Grey squares" in done.stdout
    for fact in (
        "MIT",
        "https://example.com/source",
        "registry mine",
        "cc0-1.0",
        "leaf-needs 1.0",
        "By pip",
    ):
        assert fact in done.stdout
    assert done.stdout.splitlines()[-1] == "zoo-leaf 1.0 is installed and passed its quick check."
    assert there.zoo("run", "zoo-leaf-grey", "-o", "grey.png").returncode == 0
    assert there.state()[0] == {"leaf-needs==1.0", "zoo-leaf==1.0"}

    assert there.zoo("install", "--yes", "zoo-leaf").stdout == "zoo-leaf 1.0 is already installed.\n"
    done = there.zoo("install", "--yes", "zoo-leaf==1.1")
    assert done.returncode == 0, done.stderr
    assert "zoo-leaf 1.1, now 1.0" in done.stdout

    held = there.state()
    for wanted in (["--upgrade", "zoo-leaf"], ["zoo-leaf==1.2"], ["zoo-leaf==7"]):
        # 1.3 fails its check, 1.2 cannot be unpacked, 7 is not there.
        done = there.zoo("install", "--yes", *wanted)
        assert done.returncode == 1
        assert there.state() == held
    assert there.zoo("run", "zoo-leaf-grey", "-o", "again.png").returncode == 0

    done = there.zoo("uninstall", "--yes", "zoo-leaf")
    assert done.stdout == "zoo-leaf 1.1 is removed.\n"
    assert there.state()[0] == {"leaf-needs==1.0"}
    there.run("-m", "pip", "uninstall", "--yes", "leaf-needs")
    assert there.state() == before


@pytest.mark.parametrize("delay", [float(text) for text in os.environ.get("DELAYS", "0.0,0.7").split(",")])
def test_an_install_that_was_killed_is_undone_by_the_next(there, delay):
    before = there.state()
    command = [there.python, "-m", "zoo_core", "install", "--yes", "zoo-leaf==1.0"]
    killed = subprocess.Popen(
        command, env=there.variables, stdout=DEVNULL, stderr=DEVNULL, cwd=there.folder, process_group=0
    )
    installing = Path(there.variables["ZOO_HOME"]) / "installing"
    while killed.poll() is None and not list(installing.glob("*/copies/snapshot.json")):
        time.sleep(0.001)
    time.sleep(delay)
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    assert "An installation was interrupted" in there.zoo("doctor").stdout
    assert "the environment is restored" in there.zoo("install", "--yes", "zoo-damaged").stderr
    assert there.state() == before
    assert [path.suffix for path in installing.iterdir()] == [".lock"]


def test_two_installs_at_once_are_told_apart(there):
    lock = Path(there.variables["ZOO_HOME"]) / "installing"
    assert there.zoo("install", "--yes", "zoo-damaged").returncode == 1  # makes the lock
    (path,) = lock.glob("*.lock")
    with path.open("wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        done = there.zoo("install", "--yes", "zoo-leaf==1.0")
    assert done.stderr.splitlines()[-2:] == [
        "Error: Another installation into this environment is running.",
        "Wait until it has ended.",
    ]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("zoo-damaged", "installation failed"),
        ("zoo-liar", "does not pass its quick check: zoo-liar-grey, "),
        ("zoo-greedy", "it needs another torch than"),
        ("zoo-future", "it needs another zoo-core than"),
        ("zoo-lost", "there-is-no-such-thing"),
    ],
)
def test_an_install_that_fails_leaves_the_environment_as_it_was(there, name, reason):
    before = everything(there.folder)
    done = there.zoo("install", "--yes", name)
    assert done.returncode == 1
    problem, remedy = done.stderr.splitlines()[-2:]
    assert reason in problem
    assert remedy
    if name == "zoo-liar":
        assert remedy.endswith("The environment is as it was.")
    assert everything(there.folder) == before


def test_a_registry_is_checked_for_what_can_be_had(there, served):
    before = there.state()
    shutil.rmtree(served.folder / "simple" / "zoo-greedy")
    done = there.zoo("registry", "check", "mine", "--resolve", "--json")
    assert done.returncode == 1
    (report,) = json.loads(done.stdout)
    errors = [finding for finding in report["findings"] if finding["level"] == "error"]
    assert [(finding["check"], finding["plugin"]) for finding in errors] == [("version", "zoo-greedy")]
    assert there.state() == before


def test_what_a_user_at_a_terminal_declines_is_not_installed(there):
    before = there.state()
    parent, child = pty.openpty()
    os.write(parent, b"n\n")
    done = there.run("-m", "zoo_core", "install", "zoo-leaf", stdin=child)
    os.close(parent)
    os.close(child)
    assert "Licence      MIT" in done.stdout
    assert "Install zoo-leaf? [y/N]" in done.stderr
    assert done.returncode == 130
    assert there.state() == before


def test_a_wheel_beside_its_registry_is_installed_if_it_is_the_one_that_was_listed(there, index, tmp_path):
    before = there.state()
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    wheel = shutil.copy(index / "simple" / "zoo-leaf" / "zoo_leaf-1.1-py3-none-any.whl", wheels)
    (tmp_path / "registry.toml").write_text(build([wheel], tmp_path))
    configure(there, tmp_path / "registry.toml")

    assert "has zoo-leaf 1.1, not 1.0" in there.zoo("install", "--yes", "zoo-leaf==1.0").stderr
    whole = Path(wheel).read_bytes()
    Path(wheel).write_bytes(whole + b" ")
    done = there.zoo("install", "--yes", "zoo-leaf")
    assert done.returncode == 1
    assert there.state() == before
    Path(wheel).write_bytes(whole)
    done = there.zoo("install", "--yes", "zoo-leaf")
    assert done.returncode == 0, done.stderr
    assert there.zoo("uninstall", "--yes", "zoo-leaf").returncode == 0
    there.run("-m", "pip", "uninstall", "--yes", "leaf-needs")
    assert there.state() == before


def test_what_no_registry_lists_is_installed_when_asked_for(there, index):
    before = there.state()
    wheel = index / "simple" / "zoo-leaf" / "zoo_leaf-1.1-py3-none-any.whl"
    assert "add --unlisted" in there.zoo("install", "--yes", str(wheel)).stderr
    done = there.zoo("install", "--yes", "--unlisted", str(wheel))
    assert done.returncode == 0, done.stderr
    assert "which no registry lists" in done.stdout
    assert there.zoo("uninstall", "--yes", "zoo-leaf").returncode == 0
    there.run("-m", "pip", "uninstall", "--yes", "leaf-needs")
    assert there.state() == before

    done = there.zoo("install", "--yes", "--unlisted", "not-a-plugin")
    assert done.returncode == 1
    assert "no plugin of the zoo" in done.stderr
    assert there.state() == before


def test_where_uv_made_the_environment_uv_installs(index, served, tmp_path):
    uv = Path(sys.executable).with_name("uv")
    shutil.copytree(index, served.folder, dirs_exist_ok=True)
    variables = {
        **isolation(tmp_path / "home"),
        "UV_DEFAULT_INDEX": f"{served.address}/simple",
        "UV_CACHE_DIR": str(tmp_path / "uv-cache"),
        "PATH": os.pathsep.join([str(uv.parent), os.environ["PATH"]]),
    }
    visible = [third_parties(tmp_path / "third-parties"), core(tmp_path / "core")]
    there = Environment(tmp_path / "venv", visible, variables, uv=uv)
    configure(there, served.folder / "registry.toml")

    done = there.zoo("install", "--yes", "zoo-leaf==1.1")
    assert done.returncode == 0, done.stderr
    assert "By uv" in done.stdout
    assert there.state()[0] == {"leaf-needs==1.0", "zoo-leaf==1.1"}
    for name in ("zoo-damaged", "zoo-liar", "zoo-greedy"):
        done = there.zoo("install", "--yes", name)
        assert done.returncode == 1
        assert there.state()[0] == {"leaf-needs==1.0", "zoo-leaf==1.1"}
    assert "it needs another torch than" in done.stderr
    assert there.zoo("uninstall", "--yes", "zoo-leaf").returncode == 0
    assert there.state()[0] == {"leaf-needs==1.0"}

    for kind in ("another distribution's module", "code at every start"):
        done = there.zoo("install", "--yes", "--unlisted", write_harmful(tmp_path / kind, kind))
        assert "zoo-bad 1.0" in done.stdout  # the plan names a file's version too
        assert HARMFUL[kind][1] in done.stderr
        assert there.state()[0] == {"leaf-needs==1.0"}

    wheel = Path(shutil.copy(index / "simple" / "zoo-leaf" / "zoo_leaf-1.1-py3-none-any.whl", tmp_path))
    (tmp_path / "registry.toml").write_text(build([str(wheel)], tmp_path))
    configure(there, tmp_path / "registry.toml")
    with wheel.open("ab") as file:
        file.write(b" ")
    assert there.zoo("install", "--yes", "zoo-leaf").returncode == 1
    assert there.state()[0] == {"leaf-needs==1.0"}


# --- Packages that do harm ---------------------------------------------------------------------------------

HARMFUL = {
    "another distribution's module": ("click/__init__.py", "would"),
    "a module of the core": ("zoo_core/errors.py", "would"),
    "certificates": ("certifi/cacert.pem", "would"),
    "a module beside a package": ("torch.py", "would"),
    "the zoo's script": ("{}.data/scripts/pip", "would replace"),
    "the interpreter": ("{}.data/scripts/python3", "would replace"),
    "the environment's settings": ("{}.data/data/pyvenv.cfg", "would replace"),
    "code at every start": ("start.pth", "would run at every start"),
    "code at every start, by name": ("sitecustomize.py", "would run at every start"),
    "code at every start, as a package": ("usercustomize/__init__.py", "would run at every start"),
}


def write_harmful(folder, kind):
    """A wheel of a plugin with a file that does harm."""
    folder.mkdir()
    extra = {HARMFUL[kind][0].format("zoo_bad-1.0"): "import os; os.mkdir('trap')"}
    manifest = MANIFEST.format("zoo-bad")
    return write_wheel(folder, "zoo-bad", manifest=manifest, source=SOURCE, extra=extra)


def test_a_harmful_file_of_a_wheel_is_known_from_the_wheel(there, tmp_path):
    wheels = [write_harmful(tmp_path / str(number), kind) for number, kind in enumerate(HARMFUL)]
    check = """
import sys, pathlib
from zoo_core.installing.contents import check_files, files_of_wheel
for wheel in map(pathlib.Path, sys.argv[1:]):
    try:
        check_files(files_of_wheel(wheel), ["zoo-bad"])
        print("harmless")
    except Exception as error:
        print(error.message)
"""
    found = there.run("-c", check, *wheels).stdout.splitlines()
    assert len(found) == len(HARMFUL)
    for kind, problem in zip(HARMFUL, found, strict=True):
        assert HARMFUL[kind][1] in problem, (kind, problem)


@pytest.mark.parametrize("kind", ["another distribution's module", "the interpreter", "code at every start"])
def test_a_wheel_with_a_harmful_file_is_refused_before_anything_is_written(there, tmp_path, kind):
    before = everything(there.folder)
    done = there.zoo("install", "--yes", "--unlisted", str(write_harmful(tmp_path / "wheel", kind)))
    assert done.returncode == 1
    problem, remedy = done.stderr.splitlines()[-2:]
    assert HARMFUL[kind][1] in problem
    assert "Nothing was installed." in remedy
    assert everything(there.folder) == before


SETUP = """\
import os, pathlib
pathlib.Path(os.environ["ZOO_HOME"], "trap").touch()
from setuptools import setup
setup(name="zoo-source", version="1.0", py_modules=[])
"""


@pytest.mark.parametrize("kind", ["folder", "archive", "in the index"])
def test_nothing_of_a_source_distribution_runs_without_consent(there, served, tmp_path, kind):
    source = tmp_path / "zoo-source-1.0"
    source.mkdir()
    (source / "setup.py").write_text(SETUP)
    (source / "PKG-INFO").write_text("Metadata-Version: 2.1\nName: zoo-source\nVersion: 1.0\n")
    archive = tmp_path / "zoo-source-1.0.tar.gz"
    with tarfile.open(archive, "w:gz") as file:
        file.add(source, source.name)
    index = served.folder / "simple" / "zoo-source"
    index.mkdir(parents=True)
    shutil.copy(archive, index)
    what = {"folder": str(source), "archive": str(archive), "in the index": "zoo-source"}[kind]
    before = everything(there.folder)
    done = there.zoo("install", "--yes", "--unlisted", what)
    assert done.returncode == 1
    assert not Path(there.variables["ZOO_HOME"], "trap").exists()
    if kind == "in the index":
        assert "zoo-source" in done.stderr
    else:
        assert "has to be built, which runs its code" in done.stderr
        assert "--build" in done.stderr
    assert everything(there.folder) == before


def everything(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of every file of an environment but bytecode, links not followed."""
    return {
        str(path.relative_to(folder)): (
            path.lstat().st_mode,
            os.readlink(path).encode() if path.is_symlink() else path.read_bytes(),
        )
        for path in folder.rglob("*")
        if "__pycache__" not in path.parts and (path.is_symlink() or path.is_file())
    }
