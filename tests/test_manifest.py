"""Finding plugins without importing them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_core import files
from zoo_core.errors import CardError, ZooError
from zoo_core.plugins.discovery import (
    InstalledPlugin,
    disabled_file,
    disabled_plugins,
    installed_plugins,
    package_folder,
    read_toml,
)
from zoo_core.testing.plugins import write_plugin

PLUGIN = """\
schema = 1
[plugin]
name = "{name}"
summary = "Faces"
"""

MODEL = """\
[[model]]
id = "{id}"
summary = "64×64 faces"
family = "gan"
output = "image"
license = "mit"
weights = {{ embedded = "weights" }}
"""

RAISES = "raise RuntimeError('imported')\n"


def manifest(name: str, *models: str) -> str:
    return PLUGIN.format(name=name) + "".join(MODEL.format(id=model) for model in models)


def installed(name: str) -> InstalledPlugin:
    (plugin,) = (plugin for plugin in installed_plugins() if plugin.name == name)
    return plugin


def test_a_plugin_is_found_with_its_manifest_and_not_imported(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-faces", manifest("zoo-faces", "faces"), RAISES, version="2.1")
    plugin = installed("zoo-faces")
    assert plugin.status == "ok"
    assert plugin.problem is None
    assert plugin.module == "zoo_faces"
    assert plugin.version == "2.1"
    assert plugin.manifest is not None
    assert [card.id for card in plugin.manifest.models] == ["faces"]
    assert "zoo_faces" not in sys.modules


def test_an_entry_point_may_name_a_module_deeper_down_without_its_parents_being_imported(
    plugin_site: Path,
) -> None:
    inner = {"hooks/zoo.toml": manifest("zoo-deep", "deep"), "hooks/__init__.py": RAISES}
    write_plugin(plugin_site, "zoo-deep", None, RAISES, entry_point="zoo_deep.hooks", files=inner)
    assert installed("zoo-deep").status == "ok"
    assert "zoo_deep" not in sys.modules


def test_plugins_come_by_name(plugin_site: Path) -> None:
    for name in ("zoo-b", "zoo-c", "zoo-a"):
        write_plugin(plugin_site, name, manifest(name))
    names = [plugin.name for plugin in installed_plugins()]
    assert names == sorted(names)
    assert {"zoo-a", "zoo-b", "zoo-c"} <= set(names)


def test_a_plugin_without_its_package_is_broken(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-gone", manifest("zoo-gone"), entry_point="zoo_elsewhere")
    plugin = installed("zoo-gone")
    assert plugin.status == "broken"
    assert plugin.problem is not None
    assert plugin.problem.message == "zoo-gone: there is no package 'zoo_elsewhere'."
    assert plugin.problem.remedy == "Reinstall it: zoo install zoo-gone"


def test_a_plugin_without_a_manifest_is_broken(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-mute", None)
    problem = installed("zoo-mute").problem
    assert problem is not None
    assert problem.message == "zoo-mute: its package has no zoo.toml."
    assert problem.remedy == "Ask its author, or remove it: zoo uninstall zoo-mute"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("schema = ", "not valid TOML: Invalid value (at end of document)."),
        ("schema = 1\n[plugin]\nname = 3\n", "[plugin] name: expected lower-case letters"),
        (
            PLUGIN.format(name="zoo-other"),
            "[plugin] name: expected 'zoo-wrong', as its entry point is called",
        ),
    ],
)
def test_a_plugin_with_a_wrong_manifest_is_broken_and_the_file_is_named(
    plugin_site: Path, text: str, message: str
) -> None:
    package = write_plugin(plugin_site, "zoo-wrong", text)
    problem = installed("zoo-wrong").problem
    assert isinstance(problem, CardError)
    assert problem.message.startswith(f"{package / 'zoo.toml'}: {message}")


def test_of_two_plugins_that_claim_a_name_the_first_has_it(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-a", manifest("zoo-a", "faces"))
    write_plugin(plugin_site, "zoo-b", manifest("zoo-b", "cats", "faces"))
    assert installed("zoo-a").status == "ok"
    second = installed("zoo-b")
    assert second.status == "broken"
    assert second.problem is not None
    assert second.problem.message == "zoo-b: the model 'faces' already belongs to zoo-a."
    assert second.problem.remedy == "Keep one of the two: zoo disable zoo-a, or zoo disable zoo-b"


def test_a_broken_plugin_claims_no_names(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-a", manifest("zoo-a", "faces", "faces"))
    write_plugin(plugin_site, "zoo-b", manifest("zoo-b", "faces"))
    assert installed("zoo-a").status == "broken"
    assert installed("zoo-b").status == "ok"


def test_two_distributions_with_the_same_entry_point_are_told_apart(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-a", manifest("zoo-a", "faces"))
    fork = write_plugin(plugin_site, "zoo-fork", manifest("zoo-a", "cats"))
    entry_points = next(fork.parent.glob("zoo_fork-*.dist-info")) / "entry_points.txt"
    entry_points.write_text("[zoo.plugins]\nzoo-a = zoo_fork\n")
    first, second = (plugin for plugin in installed_plugins() if plugin.name == "zoo-a")
    assert first.status == "ok"
    assert second.status == "broken"
    assert second.problem is not None
    assert second.problem.message == "zoo-a: the plugin 'zoo-a' already belongs to zoo-a."
    assert second.problem.remedy == "Remove one of the two: pip uninstall zoo-fork"


def test_what_is_wrong_with_a_disabled_plugin_is_no_problem(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-wrong", "not TOML")
    files.write_state(disabled_file(), ["zoo-wrong"])
    plugin = installed("zoo-wrong")
    assert plugin.status == "disabled"
    assert plugin.manifest is None
    assert plugin.problem is None


def test_a_disabled_plugin_claims_no_names(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-a", manifest("zoo-a", "faces"))
    write_plugin(plugin_site, "zoo-b", manifest("zoo-b", "faces"))
    files.write_state(disabled_file(), ["zoo-a"])
    assert installed("zoo-a").manifest is not None
    assert installed("zoo-b").status == "ok"


def test_no_plugin_is_disabled_at_first(plugin_site: Path) -> None:
    assert disabled_plugins() == frozenset()


@pytest.mark.parametrize("content", ["{", "3", '{"zoo-a": true}'])
def test_a_damaged_list_of_disabled_plugins_is_named(plugin_site: Path, content: str) -> None:
    disabled_file().parent.mkdir(parents=True)
    disabled_file().write_text(content)
    with pytest.raises(ZooError) as caught:
        installed_plugins()
    assert str(disabled_file()) in caught.value.message
    assert caught.value.remedy == "Repair or remove that file."


def test_the_folder_of_a_missing_package_is_none() -> None:
    assert package_folder("zoo_there_is_no_such_package") is None
    assert package_folder("json.decoder.deeper") is None
    assert package_folder("sys") is None


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(CardError) as caught:
        read_toml(tmp_path / "zoo.toml")
    assert caught.value.message == f"{tmp_path / 'zoo.toml'}: cannot be read: No such file or directory."


def test_finding_plugins_imports_neither_torch_nor_a_plugin(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-faces", manifest("zoo-faces", "faces"), RAISES)
    program = (
        "import json, sys; from zoo_core.catalog import Catalog; Catalog.read().match();"
        "print(json.dumps([n for n in sys.modules if n.split('.')[0] in "
        "('torch', 'numpy', 'huggingface_hub', 'pluggy', 'email') or n.startswith('zoo_') and "
        "not n.startswith('zoo_core')]))"
    )
    child = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert json.loads(child.stdout) == []


@pytest.mark.parametrize("path", ["../other.png", "/etc/passwd.png", "sheet.svg"])
def test_an_example_is_a_png_inside_the_package(plugin_site: Path, path: str) -> None:
    text = manifest("zoo-faces", "faces")
    write_plugin(plugin_site, "zoo-faces", f'{text}example = "{path}"\n', RAISES)
    problem = installed("zoo-faces").problem
    assert problem is not None
    assert "a .png file inside the plugin's package" in problem.message
