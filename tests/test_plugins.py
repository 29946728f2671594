"""The plugin host: one plugin is loaded when it is needed, and what it does wrong stays its own."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_core import files
from zoo_core.catalog import Catalog
from zoo_core.errors import CardError, OptionError, PluginError, ZooError
from zoo_core.plugins.discovery import InstalledPlugin, disabled_file, installed_plugins
from zoo_core.plugins.host import PluginHost, missing_requirement, plugin_errors, set_enabled
from zoo_core.plugins.import_probe import check_plugins
from zoo_core.testing.plugins import write_plugin

pytestmark = pytest.mark.slow

MANIFEST = """\
schema = 1
[plugin]
name = "{name}"
summary = "Faces"
[[model]]
id = "{model}"
summary = "64×64 faces"
family = "gan"
output = "image"
license = "mit"
weights = {{ embedded = "weights" }}
"""

HOOKS = """\
from zoo_core import hookimpl

@hookimpl
def zoo_list_models():
    return ["cards of " + __name__]

@hookimpl
def zoo_create_generator(card):
    {body}
"""

ARGUMENTS = dict.fromkeys(("card", "checkpoint", "device", "dtype"))


def install(
    site: Path, name: str, source: str = "", *, model: str = "", requires: tuple[str, ...] = ()
) -> None:
    manifest = MANIFEST.format(name=name, model=model or name.removeprefix("zoo-"))
    write_plugin(site, name, manifest, source, requires=requires)


def host() -> PluginHost:
    return PluginHost(installed_plugins())


def refusal(name: str) -> PluginError:
    with pytest.raises(PluginError) as caught:
        host().load(name)
    return caught.value


def checked(*names: str) -> dict[str, InstalledPlugin]:
    return {plugin.name: plugin for plugin in check_plugins(installed_plugins()) if plugin.name in names}


# --- Loading and calling -----------------------------------------------------------------------------------


def test_loading_imports_the_plugin_that_is_named_and_no_other(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces", HOOKS.format(body="return None"))
    install(plugin_site, "zoo-cats", "raise RuntimeError")
    host().load("zoo-faces")
    assert "zoo_faces" in sys.modules
    assert "zoo_cats" not in sys.modules


def test_loading_twice_imports_once(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces", HOOKS.format(body="return None"))
    once = host()
    once.load("zoo-faces")
    module = sys.modules.pop("zoo_faces")
    once.load("zoo-faces")
    assert "zoo_faces" not in sys.modules
    assert module is not None


def test_a_call_reaches_the_plugin_that_is_named_and_no_other(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces", HOOKS.format(body="return 'from faces'"))
    install(plugin_site, "zoo-cats", HOOKS.format(body="return 'from cats'"))
    both = host()
    both.load("zoo-cats")
    assert both.call("zoo-faces", "zoo_create_generator", **ARGUMENTS) == "from faces"
    assert both.call("zoo-cats", "zoo_create_generator", **ARGUMENTS) == "from cats"
    assert both.call("zoo-faces", "zoo_list_models") == [["cards of zoo_faces"]]


def test_a_hook_that_is_not_implemented_gives_none(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces")
    assert host().call("zoo-faces", "zoo_create_generator", **ARGUMENTS) is None


def test_what_a_hook_raises_is_named_after_the_plugin(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces", HOOKS.format(body="raise ValueError('no such\\nfile')"))
    with pytest.raises(PluginError) as caught:
        host().call("zoo-faces", "zoo_create_generator", **ARGUMENTS)
    assert caught.value.message == (
        "zoo-faces failed while running zoo_create_generator: ValueError: no such"
    )
    assert isinstance(caught.value.__cause__, ValueError)


def test_an_error_meant_for_the_user_passes_through_unchanged(plugin_site: Path) -> None:
    raising = "from zoo_core import OptionError; raise OptionError('That is wrong.', 'Do this.')"
    install(plugin_site, "zoo-faces", HOOKS.format(body=raising))
    with pytest.raises(OptionError, match="That is wrong"):
        host().call("zoo-faces", "zoo_create_generator", **ARGUMENTS)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), GeneratorExit()])
def test_cancelling_is_not_contained(error: BaseException) -> None:
    with pytest.raises(type(error)), plugin_errors("zoo-faces", "running", "Tell its author."):
        raise error


def test_leaving_the_interpreter_is_contained() -> None:
    with pytest.raises(PluginError) as caught, plugin_errors("zoo-faces", "running", "Tell its author."):
        raise SystemExit(3)
    assert caught.value.message == "zoo-faces failed while running: SystemExit: 3"


# --- Refusing ----------------------------------------------------------------------------------------------


def test_a_plugin_that_is_not_installed_is_refused(plugin_site: Path) -> None:
    problem = refusal("zoo-faces")
    assert problem.message == "The plugin zoo-faces is not installed."
    assert problem.remedy == "Install it: zoo install zoo-faces"


def test_a_disabled_plugin_is_refused_and_not_imported(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces")
    set_enabled("zoo-faces", False, installed_plugins())
    problem = refusal("zoo-faces")
    assert problem.message == "The plugin zoo-faces is disabled."
    assert problem.remedy == "Enable it: zoo enable zoo-faces"
    assert "zoo_faces" not in sys.modules


def test_a_broken_plugin_is_refused_with_its_problem_and_not_imported(plugin_site: Path) -> None:
    write_plugin(plugin_site, "zoo-faces", "schema = 2")
    with pytest.raises(CardError, match="schema: expected the number 1, not 2"):
        host().load("zoo-faces")
    assert "zoo_faces" not in sys.modules


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("raise RuntimeError('no GPU')", "RuntimeError: no GPU"),
        ("import zoo_there_is_no_such_module", "ModuleNotFoundError: No module named 'zoo_there_is_no_such"),
        ("def f(:", "SyntaxError: invalid syntax"),
        ("raise SystemExit", "SystemExit"),
        ("raise ZeroDivisionError", "ZeroDivisionError"),
    ],
)
def test_a_plugin_that_fails_when_imported_is_refused_with_the_reason(
    plugin_site: Path, source: str, reason: str
) -> None:
    install(plugin_site, "zoo-faces", source)
    problem = refusal("zoo-faces")
    assert problem.message.startswith(f"zoo-faces failed while being imported: {reason}")
    assert problem.remedy == "Reinstall it (zoo install zoo-faces) or zoo disable zoo-faces"
    assert "zoo_faces" not in sys.modules


@pytest.mark.parametrize(
    ("hook", "reason"),
    [
        ("def zoo_paint(): pass", "unknown hook 'zoo_paint'"),
        ("def zoo_list_models(colour): pass", "colour"),
    ],
)
def test_a_plugin_whose_hooks_do_not_fit_is_refused_and_the_host_is_as_before(
    plugin_site: Path, hook: str, reason: str
) -> None:
    install(plugin_site, "zoo-faces", f"from zoo_core import hookimpl\n@hookimpl\n{hook}\n")
    install(plugin_site, "zoo-cats", HOOKS.format(body="return None"))
    both = host()
    for _ in range(2):
        with pytest.raises(PluginError) as caught:
            both.load("zoo-faces")
        assert caught.value.message.startswith("zoo-faces: its hooks do not fit this version of the zoo:")
        assert reason in caught.value.message
        assert "\n" not in caught.value.message
        assert caught.value.remedy == "Update it (zoo install --upgrade zoo-faces) or zoo disable zoo-faces"
    assert both.call("zoo-cats", "zoo_list_models") == [["cards of zoo_cats"]]


@pytest.mark.parametrize(
    ("requirement", "message", "remedy"),
    [
        (
            "zoo-there-is-no-such-package>=2",
            "zoo-faces needs zoo-there-is-no-such-package, which is not installed.",
            "Install it: pip install 'zoo-there-is-no-such-package>=2'",
        ),
        (
            "click<1",
            "zoo-faces needs click<1; {click} is installed.",
            "Install it: pip install 'click<1'",
        ),
    ],
)
def test_a_plugin_that_lacks_a_requirement_is_refused_and_not_imported(
    plugin_site: Path, requirement: str, message: str, remedy: str
) -> None:
    import importlib.metadata

    install(plugin_site, "zoo-faces", "raise RuntimeError", requires=(requirement,))
    problem = refusal("zoo-faces")
    assert problem.message == message.format(click=importlib.metadata.version("click"))
    assert problem.remedy == remedy


@pytest.mark.parametrize(
    "requirement",
    [
        "click>=1",
        "zoo-there-is-no-such-package; extra == 'train'",
        "zoo-there-is-no-such-package; python_version < '3'",
        "not a requirement !!",
    ],
)
def test_a_requirement_that_is_met_or_does_not_apply_is_no_problem(
    plugin_site: Path, requirement: str
) -> None:
    install(plugin_site, "zoo-faces", requires=(requirement,))
    (plugin,) = (plugin for plugin in installed_plugins() if plugin.name == "zoo-faces")
    assert missing_requirement(plugin) is None


# --- Enabling and disabling --------------------------------------------------------------------------------


def test_disabling_and_enabling_change_what_is_found_and_say_whether_they_did(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces")
    assert set_enabled("zoo-faces", False, installed_plugins()) is True
    assert set_enabled("zoo-faces", False, installed_plugins()) is False
    assert "faces" not in Catalog.read().models
    assert set_enabled("zoo-faces", True, installed_plugins()) is True
    assert set_enabled("zoo-faces", True, installed_plugins()) is False
    assert "faces" in Catalog.read().models


def test_what_is_not_installed_can_be_neither_enabled_nor_disabled(plugin_site: Path) -> None:
    with pytest.raises(PluginError) as caught:
        set_enabled("zoo-faces", False, installed_plugins())
    assert caught.value.message == "The plugin zoo-faces is not installed."
    assert caught.value.remedy == "See those that are: zoo plugins"
    assert not disabled_file().exists()


def test_two_processes_that_disable_at_once_lose_neither_change(plugin_site: Path) -> None:
    names = [f"zoo-faces-{number}" for number in range(4)]
    for name in names:
        install(plugin_site, name)
    program = (
        "import sys; from zoo_core.plugins.discovery import installed_plugins as installed;"
        "from zoo_core.plugins.host import set_enabled; set_enabled(sys.argv[1], False, installed())"
    )
    children = [subprocess.Popen([sys.executable, "-c", program, name]) for name in names]
    assert [child.wait() for child in children] == [0] * len(children)
    assert json.loads(disabled_file().read_text()) == names


# --- Checking what only importing tells --------------------------------------------------------------------

KILLS = "import os\nprint('dying', flush=True)\nos._exit(0)\n"


def test_all_kinds_of_broken_plugins_together_leave_everything_else_working(plugin_site: Path) -> None:
    install(plugin_site, "zoo-fine", HOOKS.format(body="return None"))
    install(plugin_site, "zoo-raises", "raise RuntimeError('no GPU')")
    write_plugin(plugin_site, "zoo-toml", "schema = ", "raise RuntimeError")
    install(plugin_site, "zoo-lacks", "raise RuntimeError", requires=("zoo-there-is-no-such-package",))
    install(plugin_site, "zoo-hook", "from zoo_core import hookimpl\n@hookimpl\ndef zoo_paint(): pass\n")
    install(plugin_site, "zoo-twin", "raise RuntimeError", model="fine")
    install(plugin_site, "zoo-kills", KILLS)

    catalog = Catalog.read()
    assert {"fine", "raises", "lacks", "hook", "kills"} <= set(catalog.models)
    assert [card.plugin for card in catalog.match("fine")] == ["zoo-fine"]
    assert not [name for name in sys.modules if name.startswith(("zoo_fine", "zoo_raises", "zoo_kills"))]

    rows = checked("zoo-fine", "zoo-raises", "zoo-toml", "zoo-lacks", "zoo-hook", "zoo-twin", "zoo-kills")
    assert {name: plugin.status for name, plugin in rows.items()} == {
        "zoo-fine": "ok",
        "zoo-hook": "broken",
        "zoo-kills": "broken",
        "zoo-lacks": "broken",
        "zoo-raises": "broken",
        "zoo-toml": "broken",
        "zoo-twin": "broken",
    }
    problems = {name: (p.problem.message, p.problem.remedy) for name, p in rows.items() if p.problem}
    assert problems == {
        "zoo-hook": (
            "zoo-hook: its hooks do not fit this version of the zoo: unknown hook 'zoo_paint' in plugin "
            + problems["zoo-hook"][0].partition("in plugin ")[2],
            "Update it (zoo install --upgrade zoo-hook) or zoo disable zoo-hook",
        ),
        "zoo-kills": (
            "zoo-kills crashed the Python process while being imported.",
            "Disable it: zoo disable zoo-kills",
        ),
        "zoo-lacks": (
            "zoo-lacks needs zoo-there-is-no-such-package, which is not installed.",
            "Install it: pip install 'zoo-there-is-no-such-package'",
        ),
        "zoo-raises": (
            "zoo-raises failed while being imported: RuntimeError: no GPU",
            "Reinstall it (zoo install zoo-raises) or zoo disable zoo-raises",
        ),
        "zoo-toml": (
            f"{plugin_site / 'zoo_toml' / 'zoo.toml'}: not valid TOML: Invalid value (at end of document).",
            "Correct that file.",
        ),
        "zoo-twin": (
            "zoo-twin: the model 'fine' already belongs to zoo-fine.",
            "Keep one of the two: zoo disable zoo-fine, or zoo disable zoo-twin",
        ),
    }
    # Checking happened in another process.
    assert not [name for name in sys.modules if name.startswith(("zoo_fine", "zoo_raises", "zoo_kills"))]

    # The rest works on: the fine one is used, the others can be disabled.
    assert host().call("zoo-fine", "zoo_list_models") == [["cards of zoo_fine"]]
    assert set_enabled("zoo-kills", False, installed_plugins())
    assert checked("zoo-kills")["zoo-kills"].status == "disabled"


COUNTS = "from pathlib import Path\nwith Path(__file__).with_name('log').open('a') as log: log.write('x')\n"


def test_the_outcome_is_remembered_until_the_plugin_changes(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces", COUNTS)
    log = plugin_site / "zoo_faces" / "log"
    assert checked("zoo-faces")["zoo-faces"].status == "ok"
    assert checked("zoo-faces")["zoo-faces"].status == "ok"
    assert log.read_text() == "x"
    check_plugins(installed_plugins(), again=True)
    assert log.read_text() == "xx"
    install(plugin_site, "zoo-faces", COUNTS + "raise RuntimeError('no GPU')\n")
    assert checked("zoo-faces")["zoo-faces"].status == "broken"
    assert log.read_text() == "xxx"


def test_a_remembered_problem_is_told_again(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces", "raise RuntimeError('no GPU')")
    first, second = (checked("zoo-faces")["zoo-faces"].problem for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.message == second.message
    assert second.remedy == first.remedy


def test_a_damaged_memory_is_named(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces")
    memory = files.data_dir() / "checked.json"
    memory.parent.mkdir(parents=True)
    memory.write_text("[]")
    with pytest.raises(ZooError, match=r"checked\.json cannot be read"):
        check_plugins(installed_plugins())


def test_what_another_core_remembered_is_found_out_anew(plugin_site: Path) -> None:
    install(plugin_site, "zoo-faces", COUNTS)
    checked("zoo-faces")
    memory = files.data_dir() / "checked.json"
    told = files.read_json(memory, default={})
    del told["zoo-faces"]["notes"]
    memory.write_text(json.dumps(told))
    assert checked("zoo-faces")["zoo-faces"].status == "ok"
    assert (plugin_site / "zoo_faces" / "log").read_text() == "xx"
