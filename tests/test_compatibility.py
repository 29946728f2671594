"""Plugins and files of other versions: they work, or are reported in one clear line."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pluggy
import pytest
from in_process import zoo
from PIL import Image

from zoo_core.errors import CardError, PluginDeprecation, PluginError
from zoo_core.manifest.compatibility import VERSION, check_core, compatible
from zoo_core.manifest.toml_reader import RENAMED, Table
from zoo_core.plugins import hookspecs
from zoo_core.plugins.discovery import InstalledPlugin, installed_plugins
from zoo_core.plugins.host import PluginHost
from zoo_core.plugins.import_probe import check_plugins
from zoo_core.samples import read_record
from zoo_core.testing import write_plugin

pytestmark = pytest.mark.slow

DATA = Path(__file__).parent / "data"
FROZEN = {
    "0.1": DATA / "frozen" / "zoo_frozen",
    "0.2": DATA / "frozen_0_2" / "zoo_frozen",
}
DIGESTS = {
    "0.1": "5b443c7f93de0d901d3aa241c723899750c0b44a21f106e61bfe21be6c777f6e",
    "0.2": "49fc403415e42bd1cc12958e9f25e6ae05e50688397fa2819e7d4710c30816d1",
}
"""Digests of names and bytes: a frozen plugin never changes. If it must, the core has broken its promise."""

hookspec = pluggy.HookspecMarker("zoo")


def files_of(folder: Path) -> dict[str, bytes]:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.suffix != ".pyc")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def install(site: Path, version: str) -> Path:
    """Install the frozen plugin of a version of the core."""
    files = files_of(FROZEN[version])
    manifest, source = files.pop("zoo.toml").decode(), files.pop("__init__.py").decode()
    return write_plugin(site, "zoo-frozen", manifest, source, files=files, version=f"{version}.0")


@pytest.fixture
def frozen(plugin_site: Path) -> Path:
    """The plugin of 0.2, installed."""
    return install(plugin_site, "0.2")


def zoo_of_a_later_core(*words: str, cwd: Path) -> str:
    """Run ``zoo`` in a process that Python starts with ``LATER_CORE``."""
    command = [sys.executable, "-m", "zoo_core", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def row(name: str) -> InstalledPlugin:
    (plugin,) = (plugin for plugin in check_plugins(installed_plugins()) if plugin.name == name)
    return plugin


# --- 0.1 -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", FROZEN)
def test_the_frozen_plugins_are_unchanged(version):
    digest = hashlib.sha256()
    for name, data in files_of(FROZEN[version]).items():
        digest.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
    assert digest.hexdigest() == DIGESTS[version]


def test_a_plugin_of_0_1_is_told_the_new_name_of_a_key(plugin_site, tmp_path):
    install(plugin_site, "0.1")
    plugin = row("zoo-frozen")
    assert plugin.status == "broken"
    assert plugin.problem.message.endswith("] `each` is called `per_sample` since zoo-core 0.2.")
    assert len(plugin.problem.message.splitlines()) == 1
    assert plugin.problem.remedy == "Upgrade the plugin, or rename the key in that file."
    assert plugin.problem.message in zoo("doctor", cwd=tmp_path, status=1)
    run_ids = {card["id"] for card in json.loads(zoo("list", "--json", cwd=tmp_path))}
    assert "ddpm-digits" in run_ids  # the other plugins are not affected
    assert "frozen-squares" not in run_ids


def test_every_renamed_key_is_named_where_the_new_key_belongs():
    for old, new in RENAMED.items():
        table = Table({old: True}, "zoo.toml", "options.level")
        table.optional(new)
        with pytest.raises(CardError, match=f"`{old}` is called `{new}` since zoo-core 0.2"):
            table.finish()
        with pytest.raises(CardError, match="no such key"):
            Table({old: True}, "zoo.toml", "options.level").finish()


@pytest.mark.slow
@pytest.mark.parametrize("sample", ["ddpm-digits.png", "gpt-kjv.jsonl:1", "gpt-kjv.jsonl:2"])
def test_a_sample_of_0_1_is_replayed(sample, tmp_path):
    """zoo-core 0.1.0 wrote these files: see the README beside them."""
    found = json.loads(zoo("replay", str(DATA / "records_0_1" / sample), "--json", cwd=tmp_path))
    assert found["verdict"] != "different"


def test_a_record_of_0_1_is_read():
    record = read_record(DATA / "records_0_1" / "ddpm-digits.png")
    assert (record.model, record.seed, record.versions["zoo-core"]) == ("ddpm-digits", 3, "0.1.0")
    assert (record.options["label"], record.options["steps"]) == (7, 5)
    assert record.metadata["label"] == 7


# --- A plugin of 0.2 -----------------------------------------------------------------------------------


@pytest.mark.usefixtures("frozen")
def test_everything_in_a_plugin_of_0_2_works(tmp_path):
    assert row("zoo-frozen").status == "ok"
    assert row("zoo-frozen").notes == ()
    assert zoo("frozen-hello", cwd=tmp_path) == "Hello from 0.2.\n"

    run = ("--level", "-0.5,0.5", "-n", "2", "--seed", "3", "--steps", "2")
    zoo("run", "someone/frozen-squares", *run, "-o", "out/", cwd=tmp_path)
    greys = [np.asarray(Image.open(tmp_path / "out" / f"seed000{seed}.png")).mean() for seed in (3, 4)]
    assert greys == pytest.approx([127.5 * (1 - 0.25), 127.5 * (1 + 0.75)], abs=1)
    zoo("replay", "out/seed0003.png", cwd=tmp_path)
    zoo("run", "frozen-found", "--seed", "0", "-o", "found.png", cwd=tmp_path)

    (tmp_path / "old.frozen").write_text("frozen 0.125")
    zoo("convert", "old.frozen", "-o", "converted", cwd=tmp_path)
    zoo("run", "./converted", "--level", "0", "--seed", "0", "-o", "converted.png", cwd=tmp_path)
    assert np.asarray(Image.open(tmp_path / "converted.png")).mean() == pytest.approx(127.5 * 1.125, abs=1)


@pytest.mark.usefixtures("frozen")
def test_a_plugin_of_0_2_is_trained(tmp_path):
    import torch

    import zoo_core as core

    data = core.TrainingData(shape=(1, 4, 4), count=2)
    training = core.create_trainable(core.trainers()["frozen-squares"], {"start": 0.5}, data)
    batch = {"images": torch.zeros(2, 1, 4, 4)}
    (loss,) = training.losses(training.networks, batch, torch.Generator())
    assert loss.value.item() == pytest.approx(0.25)
    training.save(tmp_path / "model", training.networks)
    (sample,) = core.load(tmp_path / "model", device="cpu").generate(seed=0, level=0.0)
    assert sample.tensor.mean().item() == pytest.approx(0.5)


# --- A later core ------------------------------------------------------------------------------------


@pytest.mark.usefixtures("frozen")
def test_hooks_may_gain_arguments(monkeypatch):
    @hookspec(firstresult=True)
    def zoo_create_generator(card, checkpoint, device, dtype, threads, compiled):
        """The hook of a later core."""

    monkeypatch.setattr(hookspecs, "zoo_create_generator", zoo_create_generator)
    plugins = installed_plugins()
    (manifest,) = (plugin.manifest for plugin in plugins if plugin.name == "zoo-frozen")
    from zoo_core.weights import get_checkpoint

    (card,) = manifest.models
    generator = PluginHost(plugins).call(
        "zoo-frozen",
        "zoo_create_generator",
        card=card,
        checkpoint=get_checkpoint(card),
        device="cpu",
        dtype=None,
        threads=2,
        compiled=False,
    )
    assert generator.side == 4


LATER_CORE = """
from pluggy import HookspecMarker
from zoo_core.manifest.toml_reader import RENAMED, Table
from zoo_core.plugins import hookspecs
from zoo_core.errors import PluginDeprecation

going = PluginDeprecation("zoo_list_models goes with zoo-core 0.3; use [[model]] tables.")
HookspecMarker("zoo")(warn_on_impl=going)(hookspecs.zoo_list_models)
argument = PluginDeprecation("dtype of zoo_create_generator goes with zoo-core 0.3; use precision.")
HookspecMarker("zoo")(firstresult=True, warn_on_impl_args={"dtype": argument})(hookspecs.zoo_create_generator)
"""
"""Changes of a later core to hookspecs.py; Python runs this whenever it starts."""


@pytest.mark.usefixtures("frozen")
def test_deprecated_hooks_work_and_doctor_names_their_users(plugin_site, tmp_path):
    (plugin_site / "sitecustomize.py").write_text(LATER_CORE)
    said = zoo_of_a_later_core("doctor", cwd=tmp_path)
    for hook in ("zoo_list_models", "dtype of zoo_create_generator"):
        assert f"Note: zoo-frozen: {hook} goes with zoo-core 0.3; use" in said
    assert "Update it: zoo install --upgrade zoo-frozen" in said
    assert "No problems found." in said
    rows = json.loads(zoo_of_a_later_core("plugins", "--json", cwd=tmp_path))
    (found,) = (row for row in rows if row["name"] == "zoo-frozen")
    assert found["status"] == "ok"
    assert len(found["notes"]) == 2
    zoo_of_a_later_core("run", "frozen-found", "--seed", "0", "-o", "found.png", cwd=tmp_path)


@pytest.mark.usefixtures("frozen")
def test_a_removed_hook_argument_is_reported(monkeypatch):
    @hookspec(firstresult=True)
    def zoo_create_generator(card, checkpoint, device):
        """The hook of a core that has dropped an argument."""

    monkeypatch.setattr(hookspecs, "zoo_create_generator", zoo_create_generator)
    with pytest.raises(PluginError, match=r"hooks do not fit this version of the zoo: .*dtype") as caught:
        PluginHost(installed_plugins()).load("zoo-frozen")
    assert caught.value.remedy.startswith("Update it")


def test_deprecations_do_not_warn_users():
    assert issubclass(PluginDeprecation, DeprecationWarning)


# --- Which cores a plugin is for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("here", "core", "problem", "remedy"),
    [
        ("0.1.0", ">=0.1", None, None),
        ("0.1.0", ">=0.1,<0.2", None, None),
        ("0.1.0", ">=0.1.0.0,<1", None, None),
        ("0.2.0.dev3", ">=0.2", None, None),
        ("1", ">=0.9,<1.0.1", None, None),
        ("0.1.0", ">=0.1.1", "zoo-x needs zoo-core >=0.1.1; 0.1.0 is installed.", "--upgrade zoo-core"),
        ("0.9.9", ">=0.10,<0.11", "zoo-x needs zoo-core >=0.10,<0.11; 0.9.9 is", "--upgrade zoo-core"),
        ("0.2.0", ">=0.1,<0.2", "zoo-x is made for zoo-core >=0.1,<0.2; 0.2.0 is", "--upgrade zoo-x"),
        ("1.0", ">=0.1,<1", "zoo-x is made for zoo-core >=0.1,<1; 1.0 is", "--upgrade zoo-x"),
    ],
)  # fmt: skip
def test_the_core_range_of_a_plugin_is_checked(monkeypatch, here, core, problem, remedy):
    monkeypatch.setattr("zoo_core.manifest.compatibility.VERSION", here)
    if problem is None:
        check_core("zoo-x", core)
        return
    with pytest.raises(PluginError) as caught:
        check_core("zoo-x", core)
    assert caught.value.message.startswith(problem)
    assert remedy in caught.value.remedy


MANIFEST = 'schema = {schema}\n[plugin]\nname = "{name}"\nsummary = "S"\ncore = "{core}"\n{more}'


def test_incompatible_plugins_are_reported_and_not_imported(plugin_site, tmp_path):
    raises = "raise AssertionError('imported')"
    later = "future_key = { of = [1, 2] }\n[[holograms]]\nid = 'x'"
    for name, schema, core, more in (
        ("zoo-later", 1, ">=7.5", later),
        ("zoo-much-later", 2, ">=9", later),
        ("zoo-old", 1, ">=0.0.1,<0.0.9", ""),
        ("zoo-odd", 1, "~=0.1", ""),
    ):
        write_plugin(
            plugin_site, name, MANIFEST.format(schema=schema, name=name, core=core, more=more), raises
        )
    found = {plugin["name"]: plugin for plugin in json.loads(zoo("plugins", "--json", cwd=tmp_path))}
    said = zoo("doctor", cwd=tmp_path, status=1)
    for name, problem, remedy in (
        ("zoo-later", f"zoo-later needs zoo-core >=7.5; {VERSION} is installed.", "--upgrade zoo-core"),
        ("zoo-much-later", "schema: expected the number 1, not 2.", "Update the core: pip install"),
        ("zoo-old", "zoo-old is made for zoo-core >=0.0.1,<0.0.9;", "zoo install --upgrade zoo-old"),
        ("zoo-odd", "[plugin] core: expected a range of versions such as >=0.1", "Correct that file."),
    ):
        assert found[name]["status"] == "broken"
        assert problem in found[name]["problem"]
        assert remedy in found[name]["remedy"]
        assert problem in said
    assert found["zoo-ddpm"]["status"] == "ok"


def test_the_version_equals_the_distributions():
    assert importlib.metadata.version("zoo-core") == VERSION
    check_core("zoo-x", compatible())
