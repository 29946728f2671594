"""Plugins that misbehave during import: each is reported, and the rest of the zoo works.

The plugins are installed, and real processes import them.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from zoo_core.catalog import Catalog
from zoo_core.errors import PluginError
from zoo_core.plugins import import_probe
from zoo_core.plugins.discovery import InstalledPlugin, installed_plugins
from zoo_core.plugins.host import PluginHost
from zoo_core.plugins.import_probe import check_plugins
from zoo_core.testing import write_plugin

pytestmark = pytest.mark.slow

MANIFEST = """\
schema = 1
[plugin]
name = "{name}"
summary = "Grey squares"
[[model]]
id = "{model}"
summary = "Grey squares"
family = "gan"
output = "image"
license = "mit"
weights = {{ embedded = "weights" }}
"""

GENERATOR = """
from zoo_core import Step, hookimpl

class Grey:
    dtype = "float32"
    def generate(self, batch):
        import torch
        assert torch.randn is torch._C._VariableFunctions.randn
        yield Step(images=batch.noise.uniform(1, 4, 4))

@hookimpl
def zoo_create_generator(card):
    return Grey()
"""

PATCHES = """
import torch
torch.randn = lambda *shape: torch.zeros(shape)
torch.Tensor.sum = lambda self: 0
torch.nn.functional.relu = print
"""

BACKGROUND = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
open(__file__ + ".pid", "w").write(str(child.pid))
time.sleep(60)
"""

SECONDS = 12
"""Time limit for imports in these tests, set by ``LIMIT``."""
LIMIT = f"from zoo_core.plugins import import_probe\nimport_probe.PROBE_SECONDS = {SECONDS}\n"
"""Python runs this as sitecustomize whenever it starts."""

SOURCES = {
    "zoo-prints": "print('loading, please wait')" + GENERATOR,
    "zoo-exits": "raise SystemExit('goodbye')",
    "zoo-hangs": BACKGROUND,
    "zoo-patches": PATCHES + GENERATOR,
    "zoo-aaa-thief": "raise AssertionError('imported')",
}
NAMED = {
    "zoo-prints": "zoo-prints prints at its import: 'loading, please wait'.",
    "zoo-exits": "zoo-exits failed while being imported: SystemExit: goodbye",
    "zoo-hangs": f"zoo-hangs took more than {SECONDS} seconds to import and was stopped.",
    "zoo-patches": "zoo-patches replaced torch.randn, torch.nn.functional.relu, torch.Tensor.sum "
    "at its import; this has been undone.",
    "zoo-aaa-thief": "zoo-aaa-thief: the model 'ddpm-digits' already belongs to zoo-ddpm.",
}


def install(site: Path, name: str, source: str = GENERATOR, model: str | None = None) -> None:
    manifest = MANIFEST.format(name=name, model=model or name.removeprefix("zoo-"))
    write_plugin(site, name, manifest, source, files={"weights/config.json": "{}"})


@pytest.fixture
def menagerie(plugin_site: Path) -> Path:
    """Install all of them, and one plugin that works."""
    for name, source in SOURCES.items():
        install(plugin_site, name, source, "ddpm-digits" if name == "zoo-aaa-thief" else None)
    install(plugin_site, "zoo-fine")
    return plugin_site


def zoo(*words: str, cwd: Path) -> tuple[int, str, str]:
    """Run ``zoo`` in a process; return its status, output and errors."""
    command = [sys.executable, "-m", "zoo_core", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    return done.returncode, done.stdout, done.stderr


def row(name: str) -> InstalledPlugin:
    (plugin,) = (plugin for plugin in check_plugins(installed_plugins()) if plugin.name == name)
    return plugin


@pytest.mark.slow
def test_doctor_names_each_and_stops_the_one_that_hangs(menagerie, tmp_path):
    assert import_probe.PROBE_SECONDS == 30
    (menagerie / "sitecustomize.py").write_text(LIMIT)
    began = time.monotonic()
    status, out, err = zoo("doctor", cwd=tmp_path)
    assert time.monotonic() - began < 90
    assert status == 1, err
    for sentence in NAMED.values():
        assert sentence in out, out
    assert "zoo disable zoo-hangs" in out
    assert out.count("Problem:") == 4
    assert out.count("Note:") == 1

    report = json.loads(zoo("plugins", "--json", cwd=tmp_path)[1])  # cached
    status_of = {plugin["name"]: plugin["status"] for plugin in report}
    assert status_of["zoo-fine"] == status_of["zoo-ddpm"] == status_of["zoo-prints"] == "ok"
    assert [status_of[name] for name in NAMED if name != "zoo-prints"] == ["broken"] * 4


def test_child_processes_of_a_plugin_that_hangs_are_killed(plugin_site, monkeypatch):
    monkeypatch.setattr(import_probe, "PROBE_SECONDS", 6)
    install(plugin_site, "zoo-hangs", BACKGROUND)
    began = time.monotonic()
    problem = row("zoo-hangs").problem
    assert time.monotonic() - began < 30
    assert problem is not None
    assert problem.remedy == "Disable it: zoo disable zoo-hangs"
    process = int((plugin_site / "zoo_hangs" / "__init__.py.pid").read_text())
    state = Path(f"/proc/{process}/stat")
    if not Path("/proc/self/stat").exists():
        pytest.skip("needs /proc")
    assert not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z"


def test_other_plugins_are_listed_and_run(menagerie, tmp_path):
    listed = json.loads(zoo("list", "--json", cwd=tmp_path)[1])
    assert {card["plugin"] for card in listed if card["id"] == "ddpm-digits"} == {"zoo-ddpm"}
    status, _, err = zoo("run", "fine", "--seed", "0", "-o", "x.png", cwd=tmp_path)
    assert (status, err) == (0, "")
    assert (tmp_path / "x.png").stat().st_size > 0


def test_printed_output_goes_to_stderr(menagerie, tmp_path):
    status, out, err = zoo("run", "prints", "--seed", "0", "--json", "-o", "x.png", cwd=tmp_path)
    assert status == 0
    assert json.loads(out)
    assert "loading, please wait" in err


@pytest.mark.parametrize("torch_first", [True, False])
def test_torch_is_restored_whether_or_not_it_was_imported_before(menagerie, tmp_path, torch_first):
    program = f"""
{"import torch" if torch_first else ""}
import sys, zoo_core as zoo
try:
    zoo.load("patches", device="cpu")
except zoo.PluginError as error:
    print(error.message)
assert "zoo_patches" not in sys.modules
import torch
assert torch.randn(2).shape == (2,)
assert torch.ones(3).sum() == 3
assert torch.nn.functional.relu(torch.tensor(-1.0)) == 0
(sample,) = zoo.load("fine", device="cpu").generate(seed=0)
print("fine")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines() == [NAMED["zoo-patches"], "fine"], done.stderr


def test_a_model_claimed_twice_belongs_to_the_plugin_in_the_registry(plugin_site):
    install(plugin_site, "zoo-aaa-thief", "raise AssertionError", model="ddpm-digits")
    install(plugin_site, "zoo-zzz-thief", "raise AssertionError", model="imagegpt-digits")
    rows = {plugin.name: plugin for plugin in Catalog.read().plugins}
    assert rows["zoo-ddpm"].status == rows["zoo-gpt"].status == "ok"
    assert rows["zoo-aaa-thief"].status == rows["zoo-zzz-thief"].status == "broken"
    assert list(rows) == sorted(rows)
    assert Catalog.read().find("ddpm-digits").plugin == "zoo-ddpm"


def test_a_model_claimed_twice_belongs_to_the_first_plugin_by_name(plugin_site):
    alias = 'aliases = ["Someone/Faces"]\nweights'
    for name in ("zoo-b", "zoo-a"):
        manifest = MANIFEST.format(name=name, model=f"model-{name}").replace("weights", alias, 1)
        write_plugin(plugin_site, name, manifest.replace("Faces", "FACES") if name == "zoo-b" else manifest)
    rows = {plugin.name: plugin for plugin in Catalog.read().plugins}
    assert rows["zoo-a"].status == "ok"
    assert "'someone/faces' already belongs to zoo-a" in str(rows["zoo-b"].problem)


def test_each_plugin_is_imported_in_its_own_process(plugin_site):
    breaks = "import zoo_core.errors, json\njson.dumps = None\nzoo_core.errors.PluginError = None"
    install(plugin_site, "zoo-a-breaks", breaks)
    install(plugin_site, "zoo-b-fine")
    assert row("zoo-b-fine").status == "ok"
    assert row("zoo-a-breaks").status == "broken"


def test_a_plugin_that_prints_can_be_used_and_has_a_note(plugin_site, capsys):
    install(plugin_site, "zoo-prints", "print('loading', end='')")
    (note,) = row("zoo-prints").notes
    assert note.message == "zoo-prints prints at its import: 'loading'."
    PluginHost(installed_plugins()).load("zoo-prints")
    assert capsys.readouterr() == ("", "loading")


def test_a_plugin_that_patches_torch_is_refused_each_time(plugin_site):
    install(plugin_site, "zoo-patches", PATCHES)
    host = PluginHost(installed_plugins())
    for _ in range(2):
        with pytest.raises(PluginError, match=r"replaced torch\.randn"):
            host.load("zoo-patches")
