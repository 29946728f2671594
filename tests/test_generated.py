"""Generated files are up to date, and everything that must be documented is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zoo_core.cli import cli
from zoo_core.cli.commands import COMMANDS
from zoo_core.plugins import hookspecs

ROOT = Path(__file__).parents[1]


PLUGINS = sorted(str(path.parent.relative_to(ROOT)) for path in ROOT.glob("plugins/*/pyproject.toml"))


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "zoo_core", "registry", "build", *PLUGINS, "-o", "registry.toml", "--check"],
        ["tools/build_docs.py", "--check"],
    ],
    ids=["registry.toml", "docs"],
)
def test_generated_files_are_up_to_date(words):
    command = [sys.executable, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_every_benchmark_result_is_on_the_page():
    page = (ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    for path in (ROOT / "benchmarks" / "results").glob("*.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        assert (ROOT / "benchmarks" / f"{result['benchmark']}.py").is_file()
        assert f"**{result['machine']['processor']}**" in page
        for comparison in result["comparisons"]:
            assert comparison["case"] in page
            for side in comparison["zoo"].values():
                assert "speedup" not in side or f"**{side['speedup']['median']:.2f}×**" in page


def test_every_hook_is_documented_and_has_a_test():
    hooks = [name for name in vars(hookspecs) if name.startswith("zoo_")]
    guide = (ROOT / "docs" / "plugins.md").read_text()
    tests = "".join(path.read_text() for path in ROOT.glob("**/tests/**/*.py") if ".venv" not in path.parts)
    for hook in hooks:
        assert getattr(hookspecs, hook).__doc__
        assert f"`{hook}(" in guide
        assert hook in tests.replace(Path(__file__).read_text(), "")


def test_the_help_in_the_list_of_commands_is_that_of_the_command():
    for commands in COMMANDS.values():
        for name, (_, help) in commands.items():
            command = cli.get_command(None, name)
            assert command.help.splitlines()[0] == help


def test_every_builtin_model_is_in_the_demo():
    from zoo_core.manifest.cards import EmbeddedWeights
    from zoo_core.registry import BUILT_IN, read_registry

    demo = (ROOT / "tools" / "demo.sh").read_text()
    for entry in read_registry(ROOT / "registry.toml", BUILT_IN).entries:
        for card in entry.manifest.models:
            if isinstance(card.weights, EmbeddedWeights):
                assert f"zoo run {card.id} " in demo


def test_nothing_in_the_core_names_a_plugin():
    plugins = [path.name for path in (ROOT / "plugins").iterdir()]
    for path in (ROOT / "zoo_core").rglob("*.py"):
        for plugin in plugins:
            assert plugin.replace("-", "_") not in path.read_text(), path


def test_nothing_in_a_plugin_reaches_past_the_public_names():
    for path in (*ROOT.glob("plugins/*/zoo_*/**/*.py"), *ROOT.glob("examples/zoo-*/zoo_*/**/*.py")):
        source = path.read_text().replace("from zoo_core.kernels import", "")  # public, as it says
        assert "from zoo_core." not in source, path
        assert "import zoo_core." not in source, path
